// Resources: made, listed, shown, cancelled, and each operation of their tables. A request is durable when it
// is answered; whoever asks with `wait` is told the end, if it comes in time.

import { z } from 'zod'
import { type Acceptance, type Answer, RekindleError, type ResourceRow, type Runtime } from '../index.ts'
import { json, refused } from './answer.ts'
import { bad, shown } from './body.ts'
import { queries } from './query.ts'
import { type DoorPorts, READS, type Route, route, WRITES } from './route.ts'
import { acceptedOf, listOf, rowOf, settledOf } from './shapes.ts'

/** Enough to find that an operation has ended. */
const LOOK_MS = 50

const requestId = z.object({
  'request-id': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/)
    .optional(),
})

const ended = {
  200: (type: Parameters<typeof settledOf>[0] | null) => ({ schema: settledOf(type!) }),
  202: (type: Parameters<typeof acceptedOf>[0] | null) => ({ schema: acceptedOf(type!) }),
}

export function resourceRoutes(ports: DoorPorts): Route[] {
  const { runtime } = ports
  return [
    route({
      method: 'POST',
      path: '/resources/:kind',
      name: 'create',
      does: 'make one; the body is its data (?wait=SECONDS &request_id= &cluster=CLUSTER@BACKEND)',
      each: 'create',
      query: queries.create,
      headers: requestId,
      answers: ended,
      errors: [
        ...WRITES,
        ...(['unknown_kind', 'unknown_operation', 'unknown_cluster', 'unknown_id', 'refused'] as const),
        ...(['request_reused', 'no_cluster', 'too_many_waits'] as const),
      ],
      handle: ({ request, params, query, body }) => {
        const kind = params.kind!
        const { cluster, wait } = query
        const request_id = requestIdOf(request, query.request_id)
        return accepted(ports, request, wait, () =>
          runtime.accept(kind, null, createOf(runtime, kind, query.operation), body, {
            ...(request_id !== undefined && { request_id }),
            ...(cluster !== undefined && { cluster }),
          }),
        )
      },
    }),
    route({
      method: 'GET',
      path: '/resources/:kind',
      name: 'list',
      does: 'list (?status= &worker= &cluster= &after=ID &limit=1000)',
      each: 'kind',
      query: queries.list,
      answers: { 200: (type) => ({ schema: listOf(type!) }) },
      errors: [...READS, 'unknown_kind', 'unknown_status'],
      async handle({ params, query }) {
        const { rows, next } = await runtime.list(params.kind!, given(query))
        return json(200, { rows, next })
      },
    }),
    route({
      method: 'GET',
      path: '/resources/:kind/:id',
      name: 'show',
      does: 'show one',
      each: 'kind',
      answers: { 200: (type) => ({ schema: rowOf(type!) }) },
      errors: [...READS, 'unknown_kind', 'unknown_id'],
      async handle({ params: { kind, id } }) {
        const row = await runtime.get(kind!, id!)
        if (row === undefined)
          throw new RekindleError(
            'unknown_id',
            `there is no ${kind} with the id '${shown(id!)}'; list them to see the ids`,
          )
        return json(200, row)
      },
    }),
    route({
      method: 'POST',
      path: '/resources/:kind/:id/cancel',
      name: 'cancel',
      does: 'cancel its running operation (?wait=SECONDS)',
      each: 'kind',
      query: queries.cancel,
      answers: ended,
      errors: [...WRITES, 'unknown_kind', 'unknown_id', 'refused', 'too_many_waits'],
      handle: ({ request, params: { kind, id }, query }) =>
        accepted(ports, request, query.wait, () => runtime.cancel(kind!, id!)),
    }),
    route({
      method: 'POST',
      path: '/resources/:kind/:id/:operation',
      name: 'operation',
      does: 'start an operation; the body is its input (?wait=SECONDS &request_id=)',
      each: 'operation',
      query: queries.operate,
      headers: requestId,
      answers: ended,
      errors: [
        ...WRITES,
        ...(['unknown_kind', 'unknown_operation', 'unknown_id', 'unknown_cluster', 'refused'] as const),
        ...(['request_reused', 'no_cluster', 'too_many_waits'] as const),
      ],
      handle: ({ request, params, query, body }) => {
        const [kind, id, operation] = [params.kind!, params.id!, params.operation!]
        const request_id = requestIdOf(request, query.request_id)
        const shape = runtime.kinds.find((type) => type.kind === kind)?.table.operations
        // Ids are generated: a new resource has none to be named by.
        if (shape !== undefined && Object.hasOwn(shape, operation) && shape[operation]!.from === 'new')
          throw bad('id', `${operation} makes a new ${kind}, whose id is generated: POST /resources/${kind}`)
        return accepted(ports, request, query.wait, () =>
          runtime.accept(kind, id, operation, body, { ...(request_id !== undefined && { request_id }) }),
        )
      },
    }),
  ]
}

/** Those parameters that were given. */
function given<Q extends object>(query: Q): { [K in keyof Q]: Exclude<Q[K], undefined> } {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined)) as never
}

/** 200 when the operation is over, 202 while it goes on. It is durable either way. */
async function accepted(
  { runtime, environment, calls, waits }: DoorPorts,
  request: Request,
  wait_s: number | undefined,
  call: () => Promise<Answer>,
): Promise<Response> {
  // Before anything is accepted: a caller that may not wait is told so while nothing has happened.
  const leave = wait_s ? waits.take() : () => {}
  try {
    const answer = await calls.during(call)
    if (!answer.ok) return refused(answer)
    const { id, repeated } = answer
    const headers = {
      location: `/resources/${encodeURIComponent(answer.row.kind)}/${encodeURIComponent(id)}`,
    }
    const end = await within(answer, wait_s ?? 0, request.signal)
    if (end !== null) {
      const { ok, row } = end
      return json(
        200,
        { id, repeated, outcome: ok ? 'done' : 'failed', error: ok ? null : end.error, row },
        headers,
      )
    }
    // The row as it is by now; the one of the accept where the runtime stops meanwhile.
    const now =
      wait_s === undefined ? undefined : await runtime.get(answer.row.kind, id).catch(() => undefined)
    const row: ResourceRow = now ?? answer.row
    return json(202, { id, repeated, outcome: 'accepted', error: null, row }, headers)
  } finally {
    leave()
  }

  /** How the operation ended, if it does so in time. */
  async function within(answer: Acceptance, wait_s: number, signal: AbortSignal) {
    // An operation that is over (an instant one, a repeated request) is told at once, waited for or not.
    const isOver = answer.row.operation === null || answer.repeated
    if (wait_s === 0 && !isOver) return null
    const settled = answer.settled().catch(() => null)
    return new Promise<Awaited<typeof settled>>((resolve) => {
      const timer = environment.timer(Math.max(wait_s * 1_000, LOOK_MS), () => resolve(null))
      signal.addEventListener(
        'abort',
        () => {
          timer.clear()
          resolve(null)
        },
        { once: true },
      )
      void settled.then((end) => {
        timer.clear()
        resolve(end)
      })
    })
  }
}

/** The operation that makes one: `create`, or the only one there is. An unknown kind is the runtime's to refuse. */
function createOf(runtime: Runtime, kind: string, asked: string | undefined): string {
  const operations = runtime.kinds.find((type) => type.kind === kind)?.table.operations ?? {}
  const creates = Object.keys(operations).filter((name) => operations[name]!.from === 'new')
  const name = asked ?? (creates.includes('create') ? 'create' : (creates[0] ?? 'create'))
  if (Object.hasOwn(operations, name) && !creates.includes(name))
    throw bad('operation', `${name} does not make a ${kind}: POST /resources/${kind}/ID/${name}`)
  return name
}

function requestIdOf(request: Request, asked: string | undefined): string | undefined {
  const header = request.headers.get('request-id') ?? undefined
  if (header !== undefined && asked !== undefined && header !== asked)
    throw bad('request_id', 'the header Request-Id and the query say different ids')
  return header ?? asked
}

// The local HTTP door: JSON in, JSON out, over the public runtime and nothing else. It decides nothing:
// it checks the shape of a request, calls, and words the answer.

import { type Context, Hono } from 'hono'
import {
  type Acceptance,
  type Answer,
  type Environment,
  type Log,
  type NodeView,
  type QuotaLimits,
  RekindleError,
  type ResourceRow,
  type Runtime,
  realEnvironment,
} from '../index.ts'
import { answerTo, DoorError, json, refused } from './answer.ts'
import { bad, readBody, shown } from './body.ts'
import { type EventStream, streamEvents } from './events.ts'
import { MOST_WAIT_S, queries, queryOf } from './query.ts'

export interface DoorOptions {
  /** Refuse requests that a foreign page or name sends here (Host, Origin). Default true: bound to loopback. */
  readonly loopback?: boolean
  readonly environment?: Environment
  readonly log?: Log
  /** Between two signs of life on a quiet event stream. Default 15 s. */
  readonly heartbeat_ms?: number
  /** Event streams at once. Default 100. */
  readonly most_streams?: number
  /** Events that may wait for a slow client before it is cut off. Default 10,000. */
  readonly most_waiting?: number
}

export interface Door {
  fetch(request: Request): Promise<Response>
  /** Ends the event streams. */
  close(): void
}

const ROUTES = [
  ['GET /', 'this index: kinds, operations, routes'],
  [
    'POST /resources/:kind',
    'make one; the body is its data (?wait=SECONDS &request_id= &cluster=CLUSTER@BACKEND)',
  ],
  ['GET /resources/:kind', 'list (?status= &worker= &cluster= &after=ID &limit=1000)'],
  ['GET /resources/:kind/:id', 'show one'],
  ['POST /resources/:kind/:id/cancel', 'cancel its running operation (?wait=SECONDS)'],
  [
    'POST /resources/:kind/:id/:operation',
    'start an operation; the body is its input (?wait=SECONDS &request_id=)',
  ],
  ['GET /nodes', 'nodes and what they work on'],
  ['POST /nodes/:host/:action', 'kill, drain or start a node'],
  ['GET /clusters', 'clusters, their capacity and queues'],
  ['GET /stuck', 'resources that do not get on by themselves, and why'],
  ['GET /quotas', 'what each project takes, and its limits'],
  [
    'POST /quotas/:project',
    'set limits; the body names them, for example {"volumes": 10, "gigabytes": null}',
  ],
  ['GET /events', 'changes as server-sent events (?from=OFFSET or Last-Event-ID, &kind= &id=)'],
] as const

/** Enough to find that an operation has ended. */
const LOOK_MS = 50

const ACTIONS = ['kill', 'drain', 'start'] as const

/**
 * A fetch handler over a runtime.
 *
 * @example
 * const door = createDoor(runtime)
 * const answer = await door.fetch(new Request('http://localhost/nodes'))
 */
export function createDoor(runtime: Runtime, options: DoorOptions = {}): Door {
  const environment = options.environment ?? realEnvironment()
  const log: Log = options.log ?? (() => {})
  const { loopback = true, heartbeat_ms = 15_000, most_streams = 100, most_waiting = 10_000 } = options
  const streams = new Set<EventStream>()
  const app = new Hono()

  app.use(async (context, next) => {
    if (loopback) checkLocal(context.req.raw)
    await next()
  })

  app.get('/', (context) => {
    queryOf(queries.none, context.req.url)
    return json(200, indexOf(runtime))
  })

  app.post('/resources/:kind', async (context) => {
    const { kind } = context.req.param()
    const query = queryOf(queries.create, context.req.url)
    const request_id = requestIdOf(context, query.request_id)
    const body = await readBody(context.req.raw)
    const { cluster } = query
    const answer = await runtime.accept(kind, null, createOf(runtime, kind, query.operation), body, {
      ...(request_id !== undefined && { request_id }),
      ...(cluster !== undefined && { cluster }),
    })
    return accepted(context, answer, query.wait)
  })

  app.get('/resources/:kind', async (context) => {
    const { kind } = context.req.param()
    const { status, worker, cluster, after, limit } = queryOf(queries.list, context.req.url)
    const { rows, next } = await runtime.list(kind, {
      ...(status !== undefined && { status }),
      ...(worker !== undefined && { worker }),
      ...(cluster !== undefined && { cluster }),
      ...(after !== undefined && { after }),
      ...(limit !== undefined && { limit }),
    })
    return json(200, { rows, next })
  })

  app.get('/resources/:kind/:id', async (context) => {
    const { kind, id } = context.req.param()
    queryOf(queries.none, context.req.url)
    const row = await runtime.get(kind, id)
    if (row === undefined)
      throw new RekindleError(
        'unknown_id',
        `there is no ${kind} with the id '${shown(id)}'; list them to see the ids`,
      )
    return json(200, row)
  })

  app.post('/resources/:kind/:id/cancel', async (context) => {
    const { kind, id } = context.req.param()
    const { wait } = queryOf(queries.cancel, context.req.url)
    await readNothing(context)
    return accepted(context, await runtime.cancel(kind, id), wait)
  })

  app.post('/resources/:kind/:id/:operation', async (context) => {
    const { kind, id, operation } = context.req.param()
    const query = queryOf(queries.operate, context.req.url)
    const request_id = requestIdOf(context, query.request_id)
    const body = await readBody(context.req.raw)
    const shape = runtime.kinds.find((type) => type.kind === kind)?.table.operations
    // Ids are generated: a new resource has none to be named by.
    if (shape !== undefined && Object.hasOwn(shape, operation) && shape[operation]!.from === 'new')
      throw bad('id', `${operation} makes a new ${kind}, whose id is generated: POST /resources/${kind}`)
    const answer = await runtime.accept(kind, id, operation, body, {
      ...(request_id !== undefined && { request_id }),
    })
    return accepted(context, answer, query.wait)
  })

  app.get('/nodes', (context) => {
    queryOf(queries.none, context.req.url)
    return json(200, { nodes: runtime.nodes() })
  })

  app.post('/nodes/:host/:action', async (context) => {
    const { host, action } = context.req.param()
    queryOf(queries.none, context.req.url)
    await readNothing(context)
    const known = ACTIONS.find((name) => name === action)
    if (known === undefined)
      throw new DoorError('unknown_route', `a node has no '${shown(action)}', only ${ACTIONS.join(', ')}`)
    const named = ({ host: name, address }: NodeView) => name === host || address === host
    try {
      runtime.node(host)[known]()
    } catch (error) {
      const isUnknown = error instanceof RekindleError && error.code === 'unknown_node'
      // A node that is known and has ended is no mistake in the name.
      if (isUnknown && known !== 'start' && runtime.nodes().filter(named).length === 1)
        throw new DoorError(
          'node_not_running',
          `${error.message}: it can't be ${known === 'kill' ? 'killed' : 'drained'}`,
        )
      throw error
    }
    return json(202, { asked: known, node: runtime.nodes().find(named) ?? null })
  })

  app.get('/clusters', async (context) => {
    queryOf(queries.none, context.req.url)
    return json(200, { clusters: await runtime.clusters() })
  })

  app.get('/stuck', async (context) => {
    queryOf(queries.none, context.req.url)
    return json(200, { stuck: await runtime.stuck() })
  })

  app.get('/quotas', async (context) => {
    queryOf(queries.none, context.req.url)
    return json(200, { quotas: await runtime.quotas() })
  })

  app.post('/quotas/:project', async (context) => {
    queryOf(queries.none, context.req.url)
    const limits = (await readBody(context.req.raw)) ?? {}
    return json(200, await runtime.setQuota(context.req.param('project'), limits as QuotaLimits))
  })

  app.get('/events', (context) => {
    const { from: asked, ...filter } = queryOf(queries.events, context.req.url)
    const last = context.req.header('last-event-id')
    // A client that comes back says where it was; the URL is still that of its first visit.
    const from = last === undefined || last === '' ? asked : lastEventId(last)
    if (from !== undefined && from > runtime.offset())
      throw bad(last ? 'Last-Event-ID' : 'from', `${from} is ahead of the last change, ${runtime.offset()}`)
    if (filter.kind !== undefined) knownFeedKind(runtime, filter.kind)
    if (streams.size >= most_streams)
      throw new DoorError(
        'too_many_streams',
        `${most_streams} event streams are open, the most that are served`,
      )
    const stream = streamEvents(runtime, { environment, from, filter, heartbeat_ms, most_waiting }, () =>
      streams.delete(stream),
    )
    streams.add(stream)
    return new Response(stream.body, {
      headers: {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-accel-buffering': 'no',
      },
    })
  })

  app.notFound((context) => answerTo(noRoute(context.req.method, context.req.path), log))
  app.onError((error) => answerTo(error, log))

  /** 200 when the operation is over, 202 while it goes on. It is durable either way. */
  async function accepted(context: Context, answer: Answer, wait_s: number | undefined): Promise<Response> {
    if (!answer.ok) return refused(answer)
    const { id, repeated } = answer
    const headers = {
      location: `/resources/${encodeURIComponent(answer.row.kind)}/${encodeURIComponent(id)}`,
    }
    const ended = await within(answer, wait_s ?? 0, context.req.raw.signal)
    if (ended !== null) {
      const { ok, row } = ended
      return json(
        200,
        { id, repeated, outcome: ok ? 'done' : 'failed', error: ok ? null : ended.error, row },
        headers,
      )
    }
    // The row as it is by now; the one of the accept where the runtime stops meanwhile.
    const now =
      wait_s === undefined ? undefined : await runtime.get(answer.row.kind, id).catch(() => undefined)
    const row: ResourceRow = now ?? answer.row
    return json(202, { id, repeated, outcome: 'accepted', error: null, row }, headers)
  }

  /** How the operation ended, if it does so in time. */
  async function within(answer: Acceptance, wait_s: number, signal: AbortSignal) {
    // An operation that is over (an instant one, a repeated request) is told at once, waited for or not.
    const isOver = answer.row.operation === null || answer.repeated
    if (wait_s === 0 && !isOver) return null
    const settled = answer.settled().catch(() => null)
    return new Promise<Awaited<typeof settled>>((resolve) => {
      const timer = environment.timer(Math.max(wait_s * 1_000, LOOK_MS), () => resolve(null))
      signal.addEventListener('abort', () => resolve(null), { once: true })
      void settled.then((end) => {
        timer.clear()
        resolve(end)
      })
    })
  }

  return {
    async fetch(request) {
      try {
        return await app.fetch(request)
      } catch (error) {
        return answerTo(error, log)
      }
    },
    close() {
      for (const stream of [...streams]) stream.close()
    },
  }
}

function indexOf(runtime: Runtime) {
  return {
    name: 'rekindle',
    state: runtime.state(),
    most_wait_s: MOST_WAIT_S,
    kinds: runtime.kinds.map(({ kind, statuses, table }) => ({
      kind,
      statuses: statuses.all,
      operations: Object.entries(table.operations).map(([name, { from, description }]) => ({
        name,
        from,
        description: description ?? null,
      })),
    })),
    routes: ROUTES.map(([route, what]) => ({ route, what })),
  }
}

/** A loopback door is for programs of this machine: a page of elsewhere, or a name that was made to point here, is not. */
function checkLocal(request: Request): void {
  const { hostname, host } = new URL(request.url)
  if (!/^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname))
    throw new DoorError('foreign', `this door serves localhost, not '${shown(hostname)}'`)
  const origin = request.headers.get('origin')
  if (origin === null) return
  if (!URL.canParse(origin) || new URL(origin).host !== host)
    throw new DoorError('foreign', `pages of '${shown(origin)}' may not ask here`)
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

function requestIdOf(context: Context, asked: string | undefined): string | undefined {
  const header = context.req.header('request-id')
  if (header !== undefined && asked !== undefined && header !== asked)
    throw bad('request_id', 'the header Request-Id and the query say different ids')
  return header ?? asked
}

async function readNothing(context: Context): Promise<void> {
  const body = await readBody(context.req.raw)
  const [name] = Object.keys(body ?? {})
  if (name !== undefined) throw bad(name, 'is not expected: no input is taken')
}

function lastEventId(given: string): number {
  const result = queries.offset.safeParse(given)
  if (!result.success) throw bad('Last-Event-ID', 'must be a whole number')
  return result.data
}

/** Besides the kinds of resources the feed has the rows of nodes. */
function knownFeedKind(runtime: Runtime, kind: string): void {
  const known = [...runtime.kinds.map((type) => type.kind), 'service', 'beat', 'cluster', 'request', 'quota']
  if (!known.includes(kind))
    throw new RekindleError('unknown_kind', `the feed has no kind '${shown(kind)}', only ${known.join(', ')}`)
}

function noRoute(method: string, path: string): DoorError {
  const allowed = ROUTES.map(([route]) => route.split(' ') as [string, string])
    .filter(([, pattern]) => fits(pattern, path))
    .map(([allow]) => allow)
  if (allowed.length === 0)
    return new DoorError('unknown_route', `there is nothing at '${shown(path)}'; GET / lists what there is`)
  const allow = [...new Set(allowed)].join(', ')
  return new DoorError('method_not_allowed', `${shown(method)} is not for '${shown(path)}', only ${allow}`, {
    allow,
  })
}

function fits(pattern: string, path: string): boolean {
  const wanted = pattern.split('/')
  const given = path.split('/')
  return (
    wanted.length === given.length && wanted.every((part, i) => part.startsWith(':') || part === given[i])
  )
}

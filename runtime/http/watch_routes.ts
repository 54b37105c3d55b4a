// What watches the process rather than uses it: the index, the document, health, readiness, metrics, and the
// stream of events.

import { z } from 'zod'
import { type NodeView, RekindleError, type Runtime } from '../index.ts'
import { json } from './answer.ts'
import { bad, shown } from './body.ts'
import { type EventStream, streamEvents } from './events.ts'
import type { Limit } from './limits.ts'
import { METRICS_TYPE, metricsText } from './metrics.ts'
import { documentOf } from './openapi.ts'
import { MOST_WAIT_S, queries } from './query.ts'
import { type DoorPorts, READS, type Route, route } from './route.ts'
import { index, readiness } from './shapes.ts'

export interface StreamPorts {
  readonly heartbeat_ms: number
  readonly most_waiting: number
  readonly limit: Limit
  readonly open: Set<EventStream>
}

/** `all`: every route of the door, these included; asked when it is needed. */
export function watchRoutes(
  { runtime, environment }: DoorPorts,
  streams: StreamPorts,
  all: () => readonly Route[],
  hasToken: boolean,
): Route[] {
  let document: object | null = null
  return [
    route({
      method: 'GET',
      path: '/',
      name: 'index',
      does: 'this index: kinds, operations, routes',
      answers: { 200: () => ({ schema: index }) },
      errors: [],
      handle: () => json(200, indexOf(runtime, all())),
    }),
    route({
      method: 'GET',
      path: '/openapi.json',
      name: 'openapi',
      does: 'all of this as an OpenAPI 3.1 document',
      answers: { 200: () => ({ schema: z.looseObject({ openapi: z.string() }) }) },
      errors: [],
      handle() {
        document ??= documentOf(all(), runtime.kinds, hasToken)
        return json(200, document)
      },
    }),
    route({
      method: 'GET',
      path: '/healthz',
      name: 'healthz',
      does: 'whether the process answers; needs no token',
      isOpen: true,
      answers: { 200: () => ({ schema: z.looseObject({ alive: z.literal(true) }) }) },
      errors: [],
      handle: () => json(200, { alive: true }),
    }),
    route({
      method: 'GET',
      path: '/readyz',
      name: 'readyz',
      does: 'whether the store is open and a node is up (none need be where none is configured); 503 says why not',
      answers: { 200: () => ({ schema: readiness }), 503: () => ({ schema: readiness }) },
      errors: [],
      handle() {
        const reasons = unreadiness(runtime)
        const ready = reasons.length === 0
        return json(ready ? 200 : 503, { ready, reasons }, ready ? {} : { 'retry-after': '1' })
      },
    }),
    route({
      method: 'GET',
      path: '/metrics',
      name: 'metrics',
      does: 'counts and durations, for Prometheus',
      answers: { 200: () => ({ media: METRICS_TYPE }) },
      errors: [],
      async handle() {
        const text = await metricsText(await runtime.measures())
        return new Response(text, {
          headers: {
            'content-type': METRICS_TYPE,
            'cache-control': 'no-store',
            'x-content-type-options': 'nosniff',
          },
        })
      },
    }),
    route({
      method: 'GET',
      path: '/events',
      name: 'events',
      does: 'changes as server-sent events (?from=OFFSET or Last-Event-ID, &kind= &id=)',
      query: queries.events,
      headers: z.object({
        'last-event-id': z
          .string()
          .regex(/^\d{0,15}$/)
          .optional(),
      }),
      answers: { 200: () => ({ media: 'text/event-stream; charset=utf-8' }) },
      errors: [...READS, 'unknown_kind', 'offset_too_old', 'too_many_streams'],
      handle({ request, query: { from: asked, ...filter } }) {
        const headers = {
          'content-type': 'text/event-stream; charset=utf-8',
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
          'x-accel-buffering': 'no',
        }
        const last = request.headers.get('last-event-id')
        // A client that comes back says where it was; the URL is still that of its first visit.
        const from = last === null || last === '' ? asked : lastEventId(last)
        if (from !== undefined && from > runtime.offset())
          throw bad(
            last ? 'Last-Event-ID' : 'from',
            `${from} is ahead of the last change, ${runtime.offset()}`,
          )
        if (filter.kind !== undefined) knownFeedKind(runtime, filter.kind)
        // Nobody would read it.
        if (request.method === 'HEAD') return new Response(null, { headers })
        const leave = streams.limit.take()
        try {
          const { heartbeat_ms, most_waiting } = streams
          const stream = streamEvents(
            runtime,
            { environment, from, filter, heartbeat_ms, most_waiting },
            () => {
              leave()
              streams.open.delete(stream)
            },
          )
          streams.open.add(stream)
          return new Response(stream.body, { headers })
        } catch (error) {
          leave()
          throw error
        }
      },
    }),
  ]
}

/** Why nothing would be worked on here just now; empty where all is well. */
function unreadiness(runtime: Runtime): string[] {
  const state = runtime.state()
  if (state !== 'open')
    return [state === 'suspended' ? 'the store is lost; it is being opened again' : `the runtime is ${state}`]
  let nodes: readonly NodeView[]
  try {
    nodes = runtime.nodes()
  } catch (error) {
    // Lost or stopped since.
    return [(error as Error).message]
  }
  const isConfigured = ({ address }: { address: string }) => {
    try {
      runtime.node(address)
      return true
    } catch {
      return false
    }
  }
  // Of a node of this process its life says more than its row, which it may be unable to write.
  const isUp = (node: NodeView) =>
    isConfigured(node) ? ['up', 'disabled'].includes(node.here?.state ?? '') : node.state === 'up'
  if (nodes.some(isUp) || !nodes.some(isConfigured)) return []
  return [
    `no node is up: ${nodes.map((node) => `${node.address} is ${node.here?.state ?? (isConfigured(node) ? 'down' : node.state)}`).join(', ')}`,
  ]
}

function indexOf(runtime: Runtime, routes: readonly Route[]) {
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
    routes: routes.map(({ method, path, does }) => ({ route: `${method} ${path}`, what: does })),
  }
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

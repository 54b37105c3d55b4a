// The HTTP door: JSON in, JSON out, over the public runtime and nothing else. It decides nothing: it checks who
// asks and the shape of what is asked, hands it to its route, and words the answer.

import { type Context, Hono } from 'hono'
import { type Environment, type Log, type Runtime, realEnvironment } from '../index.ts'
import { accessFor, checkToken } from './access.ts'
import { answerTo, DoorError } from './answer.ts'
import { bad, readBody, shown } from './body.ts'
import type { EventStream } from './events.ts'
import { Limit } from './limits.ts'
import { nodeRoutes } from './node_routes.ts'
import { queryOf } from './query.ts'
import { resourceRoutes } from './resource_routes.ts'
import type { Asked, DoorPorts, Route } from './route.ts'
import { watchRoutes } from './watch_routes.ts'

export interface DoorOptions {
  /** It is bound to loopback: it answers to no other name, and may go without a token. Default true. */
  readonly loopback?: boolean
  /** Names by which it is reached, where it is not bound to loopback. Addresses need not be named. */
  readonly names?: readonly string[]
  /** Callers must send it as `Authorization: Bearer TOKEN`. Without one, only a loopback door is made. */
  readonly token?: string
  readonly environment?: Environment
  readonly log?: Log
  /** Answers what is for the live page; null from `partFor`: the request is for a route. */
  readonly page?: {
    partFor(request: Request): 'file' | 'data' | null
    fetch(request: Request): Promise<Response>
  }
  /** Between two signs of life on a quiet event stream. Default 15 s. */
  readonly heartbeat_ms?: number
  /** Calls that change something under way at once. Default 500. */
  readonly most_calls?: number
  /** Requests that wait for the end of an operation at once. Default 500. */
  readonly most_waits?: number
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

/**
 * A fetch handler over a runtime. Throws `bad_settings` where others can reach it and there is no token.
 *
 * @example
 * const door = createDoor(runtime)
 * const answer = await door.fetch(new Request('http://localhost/nodes'))
 */
export function createDoor(runtime: Runtime, options: DoorOptions = {}): Door {
  const environment = options.environment ?? realEnvironment()
  const log: Log = options.log ?? (() => {})
  const { loopback = true, names = [], token, page, heartbeat_ms = 15_000, most_waiting = 10_000 } = options
  const { most_calls = 500, most_waits = 500, most_streams = 100 } = options
  checkToken(loopback ? 'localhost' : 'a door that is not bound to loopback', token)
  const checkAccess = accessFor({ loopback, names, token: token ?? null })
  const ports: DoorPorts = {
    runtime,
    environment,
    log,
    calls: new Limit(most_calls, 'too_many_calls', 'calls'),
    waits: new Limit(most_waits, 'too_many_waits', 'waits'),
  }
  const open = new Set<EventStream>()
  const limit = new Limit(most_streams, 'too_many_streams', 'event streams')
  const streams = { heartbeat_ms, most_waiting, limit, open }
  const routes: readonly Route[] = [
    ...watchRoutes(ports, streams, () => routes, token !== undefined),
    ...resourceRoutes(ports),
    ...nodeRoutes(ports),
  ]
  const app = new Hono()
  if (page !== undefined)
    app.use(async (context, next) => {
      const part = page.partFor(context.req.raw)
      if (part === null) return next()
      // Its files hold nothing of anybody's; they ask for the token themselves.
      checkAccess(context.req.raw, part === 'file')
      return page.fetch(context.req.raw)
    })
  for (const route of routes)
    app.on(route.method, route.path, async (context) => {
      checkAccess(context.req.raw, route.isOpen === true)
      return route.handle((await askedOf(route, context)) as Asked<never>)
    })
  app.notFound((context) => {
    // Whoever may not ask is not told what there is.
    checkAccess(context.req.raw, false)
    throw noRoute(routes, context.req.method, context.req.path)
  })
  app.onError((error) => {
    throw error
  })

  return {
    async fetch(request) {
      const since = environment.monotonic()
      const { method } = request
      const path = pathOf(request.url)
      const request_id = request.headers.get('request-id')
      const about = {
        method,
        path: shown(path),
        ...(request_id !== null && { request_id: shown(request_id) }),
        ...fieldsOf(path),
      }
      let answer: Response
      try {
        answer = await app.fetch(request)
      } catch (error) {
        answer = answerTo(error, log, about)
      }
      const ms = Math.round(environment.monotonic() - since)
      log({
        level: 'debug',
        message: `${shown(method)} ${about.path} is answered with ${answer.status}`,
        fields: { ...about, answered: answer.status, ms },
      })
      return answer
    },
    close() {
      for (const stream of [...open]) stream.close()
    },
  }
}

async function askedOf(route: Route, context: Context): Promise<Asked> {
  const { raw: request, url } = context.req
  const query = queryOf(route.query, url)
  const body = route.method === 'GET' ? undefined : await readBody(request)
  const [name] = Object.keys(body ?? {})
  // Of an operation, its table says what it takes.
  if (name !== undefined && route.body === undefined && route.each !== 'create' && route.each !== 'operation')
    throw bad(name, 'is not expected: no input is taken')
  if (body !== undefined && route.body !== undefined) checkBody(route, body)
  return { request, params: context.req.param() as Readonly<Record<string, string>>, query, body }
}

function checkBody({ body: schema }: Route, body: object): void {
  const { error } = schema!.safeParse(body)
  if (error === undefined) return
  const [issue] = error.issues
  const path = issue!.code === 'unrecognized_keys' ? issue!.keys.join(', ') : issue!.path.join('.')
  throw bad(path, issue!.message)
}

function pathOf(url: string): string {
  return new URL(url).pathname
}

/** What a path names, for whoever searches the log. */
function fieldsOf(path: string): { kind?: string; id?: string; operation?: string } {
  const [, first, kind, id, operation] = path.split('/').map(shown)
  if (first !== 'resources') return {}
  return { ...(kind && { kind }), ...(id && { id }), ...(operation && { operation }) }
}

function noRoute(routes: readonly Route[], method: string, path: string): DoorError {
  const allowed = routes.filter((route) => fits(route.path, path)).map((route) => route.method)
  if (allowed.length > 0) {
    const allow = [...new Set(allowed)].join(', ')
    return new DoorError(
      'method_not_allowed',
      `${shown(method)} is not for '${shown(path)}', only ${allow}`,
      {
        allow,
      },
    )
  }
  const near = routes.filter((route) => fits(withoutLast(route.path), withoutLast(path)))
  const actions = near.map((route) => route.path.split('/').at(-1)!).filter((last) => !last.startsWith(':'))
  const hint =
    actions.length > 0 && path.split('/').length > 2
      ? `only ${[...new Set(actions)].join(', ')} there`
      : 'GET / lists what there is'
  return new DoorError('unknown_route', `there is nothing at '${shown(path)}'; ${hint}`)
}

const withoutLast = (path: string): string => path.slice(0, path.lastIndexOf('/'))

function fits(pattern: string, path: string): boolean {
  const wanted = pattern.split('/')
  const given = path.split('/')
  return (
    wanted.length === given.length &&
    wanted.every((part, i) => (part.startsWith(':') ? given[i] !== '' : part === given[i]))
  )
}

// The live page: its files, and what it asks for besides the routes that every client has. It uses the public
// runtime and decides nothing; operations and administration go through the door's own routes.

import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import type { ResourceType } from '../../machines/index.ts'
import { type Environment, RekindleError, type Runtime, realEnvironment } from '../index.ts'
import { type Feed, openFeed } from './feed.ts'
import type { Geometry } from './geometry.ts'
import { layoutOf } from './layout.ts'
import { Recorder } from './recorder.ts'
import { BRIEF_FIELDS, type Brief } from './step.ts'
import { beginStory, type Story } from './story.ts'

export interface Page {
  /** Whether a request is for the page: one of its files, or what it asks for. */
  partFor(request: Request): 'file' | 'data' | null
  fetch(request: Request): Promise<Response>
  /** Ends the feeds and the story. */
  close(): Promise<void>
}

export interface PageOptions {
  readonly environment?: Environment
  /** Feeds at once. Default 50. */
  readonly most_feeds?: number
}

/** Everything comes from here and runs from here: what is in a row can't become a script. */
const POLICY = [
  ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:"],
  ...["connect-src 'self'", "form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'"],
].join('; ')

const FILES = {
  '/': ['page.html', 'text/html'],
  '/page/main.js': ['main.js', 'text/javascript'],
  '/page/page.css': ['page.css', 'text/css'],
} as const

interface World {
  readonly runtime: Runtime
  readonly recorder: Recorder
  readonly caption: Story['caption']
}

export function createPage(runtime: Runtime, options: PageOptions = {}): Page {
  const { environment = realEnvironment(), most_feeds = 50 } = options
  const feeds = new Set<Feed>()
  const real: World = { runtime, recorder: new Recorder(runtime, environment), caption: () => null }
  let story: (World & { readonly told: Story }) | null = null
  let isClosed = false

  async function endStory(): Promise<void> {
    const ended = story
    story = null
    ended?.recorder.close()
    await ended?.told.close()
  }

  async function newStory(): Promise<Response> {
    await endStory()
    const told = await beginStory(environment)
    if (isClosed) {
      await told.close()
      return problem(503, 'stopped', 'it is stopping')
    }
    story = {
      runtime: told.runtime,
      recorder: new Recorder(told.runtime, environment),
      caption: told.caption,
      told,
    }
    return answer(201, { world: 'story' })
  }

  function feed(world: World, from: string | null): Response {
    if (feeds.size >= most_feeds)
      return problem(503, 'too_many_streams', `${most_feeds} pages are open already`)
    const at = from === null || !/^\d{1,15}$/.test(from) ? null : Number(from)
    const opened: Feed = openFeed({ ...world, environment }, at, () => void feeds.delete(opened))
    feeds.add(opened)
    return new Response(opened.body, {
      headers: { ...PLAIN, 'content-type': 'text/event-stream; charset=utf-8' },
    })
  }

  /** The layout of a definition is worked out once. */
  const layouts = new Map<ResourceType, Promise<Geometry>>()
  async function chart(world: World, kind: string): Promise<Response> {
    const type = world.runtime.kinds.find((known) => known.kind === kind)
    if (type === undefined) return problem(404, 'unknown_kind', `there is no kind '${kind.slice(0, 80)}'`)
    const layout = layouts.get(type) ?? layoutOf(type)
    layouts.set(type, layout)
    return answer(200, await layout)
  }

  async function rows(world: World, kind: string, after: string | null): Promise<Response> {
    const page = await world.recorder.page(kind, after, 10_000)
    return answer(200, { fields: BRIEF_FIELDS, rows: page.rows.map(listed), next: page.next })
  }

  return {
    partFor(request) {
      const { pathname } = new URL(request.url)
      if (pathname === '/') return request.method === 'GET' && wantsPage(request) ? 'file' : null
      if (!pathname.startsWith('/page/')) return null
      return fileAt(pathname) === undefined ? 'data' : 'file'
    },
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url)
      const found = fileAt(pathname)
      if (request.method === 'POST' && pathname === '/page/story') return newStory()
      if (request.method !== 'GET') return problem(405, 'method_not_allowed', 'only GET is for the page')
      if (found !== undefined) return file(found[0], found[1])
      const world = searchParams.get('world') === 'story' ? story : real
      if (world === null) return problem(404, 'unknown_world', 'the story is over; begin it anew')
      try {
        const [, , what, ...rest] = pathname.split('/').map(decodeURIComponent)
        if (what === 'feed' && rest.length === 0) return feed(world, searchParams.get('from'))
        if (what === 'kinds' && rest.length === 0) return answer(200, { kinds: kindsOf(world.runtime) })
        if (what === 'chart' && rest.length === 1) return await chart(world, rest[0]!)
        if (what === 'rows' && rest.length === 1)
          return await rows(world, rest[0]!, searchParams.get('after'))
        if (what === 'resource' && rest.length === 2)
          return answer(200, {
            row: (await world.runtime.get(rest[0]!, rest[1]!)) ?? null,
            steps: world.recorder.of(`${rest[0]}/${rest[1]}`),
          })
      } catch (error) {
        if (error instanceof URIError) return problem(400, 'bad_request', 'the path can’t be read')
        if (!(error instanceof RekindleError)) throw error
        return problem(error.code.startsWith('unknown') ? 404 : 503, error.code, error.message)
      }
      return problem(404, 'unknown_route', `the page has nothing at ${pathname}`)
    },
    async close() {
      isClosed = true
      for (const open of [...feeds]) open.close()
      real.recorder.close()
      await endStory()
    },
  }
}

/** What can be asked of each kind, and with which input: the page makes its forms of it. */
function kindsOf(runtime: Runtime) {
  return runtime.kinds.map(({ kind, statuses, table }) => ({
    kind,
    rest: statuses.rest,
    transitional: statuses.transitional,
    held: Object.keys(table.held ?? {}),
    operations: Object.entries(table.operations)
      .filter(([, { follows }]) => follows === undefined)
      .map(([name, { from, force, description, input }]) => ({
        name,
        from: from === 'any' ? 'any' : [from ?? []].flat(),
        force: force === true,
        description: description ?? '',
        input: schemaOf(input ?? (from === 'new' ? table.data : null)),
      })),
  }))
}

/** As JSON Schema; null where no input is taken, `{}` where its library can't say. */
function schemaOf(schema: unknown): object | null {
  if (schema === null) return null
  if ((schema as { '~standard'?: { vendor?: string } })['~standard']?.vendor !== 'zod') return {}
  return z.toJSONSchema(schema as z.ZodType, { io: 'input', unrepresentable: 'any' })
}

const listed = (row: Brief) => BRIEF_FIELDS.map((field) => row[field])

const PLAIN = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const

function answer(status: number, value: unknown): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { ...PLAIN, 'content-type': 'application/json; charset=utf-8' },
  })
}

function problem(status: number, code: string, message: string): Response {
  return answer(status, { error: { code, message } })
}

function wantsPage(request: Request): boolean {
  return (request.headers.get('accept') ?? '').includes('text/html')
}

function fileAt(pathname: string): readonly [string, string] | undefined {
  return Object.hasOwn(FILES, pathname) ? FILES[pathname as keyof typeof FILES] : undefined
}

/** Beside this file where it is built; in the build where this runs from its sources. */
const FOLDERS = [
  new URL('./assets/', import.meta.url),
  new URL('../../dist/runtime/page/assets/', import.meta.url),
]

async function file(name: string, type: string): Promise<Response> {
  for (const folder of FOLDERS) {
    const bytes = await readFile(new URL(name, folder)).catch(() => null)
    if (bytes !== null)
      return new Response(bytes, {
        headers: {
          ...PLAIN,
          'content-type': `${type}; charset=utf-8`,
          'content-security-policy': POLICY,
          'referrer-policy': 'no-referrer',
        },
      })
  }
  return problem(404, 'unknown_route', `${name} was not built: npm run build`)
}

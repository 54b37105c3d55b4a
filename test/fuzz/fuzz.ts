// Runs of requests against a door over a real runtime in memory and virtual time. After each answer: it is one
// that the door's own document allows, never 500; what was refused has changed nothing; nothing in the runtime's
// invariants broke. One seed decides everything, so a failing run is repeated and shrunk.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createDoor, type Door } from '../../runtime/http/index.ts'
import type { Runtime } from '../../runtime/index.ts'
import { Judge, type OpenApi } from '../door/document.ts'
import { FaultRig } from '../kit/fault_rig.ts'
import { type FuzzedRequest, filled, type Ids, type Step, stepsFrom } from './requests.ts'

export interface FuzzOptions {
  readonly seed: number
  readonly runs: number
  /** Where a failing run is, as it was printed. */
  readonly path?: string
  /** Stops after the run that is under way then. */
  readonly within_ms?: number
}

export interface Fuzzed {
  readonly requests: number
  /** How often each status was answered. */
  readonly statuses: { readonly [status: string]: number }
  /** Operations of the document that were answered well at least once, and all there are. */
  readonly done: ReadonlySet<string>
  readonly documented: number
  /** Null where nothing was found; else what, with the shortest requests that show it. */
  readonly fault: { readonly message: string; readonly path: string; readonly steps: readonly Step[] } | null
}

/** What is answered where the document has nothing. */
const NOWHERE = [400, 403, 404, 405, 413, 415]

const NODES = ['h1', 'h2', 'h2@file', 'ssd@file@h1', 'h9']
const TOPICS = [...Array.from({ length: 5 }, () => 'ssd@file'), 'h1@file']

interface World {
  readonly rig: FaultRig
  readonly runtime: Runtime
  readonly door: Door
  readonly faults: string[]
}

async function open(): Promise<World> {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1', 'h2'] })
  const faults: string[] = []
  const door = createDoor(runtime, {
    environment: rig.environment,
    log: ({ level, message }) => level === 'error' && faults.push(message),
  })
  return { rig, runtime, door, faults }
}

/** The document of the door that is fuzzed. */
export async function fuzzedDocument(): Promise<OpenApi> {
  const { rig, door } = await open()
  const answer = await door.fetch(new Request('http://localhost/openapi.json'))
  await rig.stop()
  return (await answer.json()) as OpenApi
}

/** Looks for a run of requests that the door answers as it must not. */
export async function fuzz({ seed, runs, path, within_ms }: FuzzOptions): Promise<Fuzzed> {
  const document = await fuzzedDocument()
  const judge = new Judge(document)
  const statuses: { [status: string]: number } = {}
  const done = new Set<string>()
  let requests = 0
  const property = fc.asyncProperty(stepsFrom(document, NODES, TOPICS), async (steps) => {
    const world = await open()
    const ids = new Map<string, string[]>()
    try {
      for (const step of steps) {
        if ('pause_ms' in step) {
          await world.rig.advance(step.pause_ms)
          continue
        }
        requests++
        const { status, operation } = await ask(world, judge, step, ids)
        statuses[status] = (statuses[status] ?? 0) + 1
        if (status < 400 && operation !== undefined) done.add(operation)
      }
      await world.rig.advance(30_000)
      assert.deepEqual(world.faults, [])
      assert.deepEqual(world.rig.violations({ rested: false }), [])
    } finally {
      await world.rig.stop()
    }
  })
  const details = await fc.check(property, {
    seed,
    numRuns: runs,
    ...(path !== undefined && { path, endOnFailure: true }),
    ...(within_ms !== undefined && { interruptAfterTimeLimit: within_ms }),
  })
  const documented = Object.values(document.paths).flatMap((methods) => Object.keys(methods)).length
  const fault = details.failed
    ? {
        message: String((details.errorInstance as Error | null)?.message ?? details.errorInstance),
        path: details.counterexamplePath ?? '',
        steps: details.counterexample?.[0] ?? [],
      }
    : null
  return { requests, statuses, done, documented, fault }
}

/** Sends one request and judges its answer. */
async function ask(
  { rig, runtime, door, faults }: World,
  judge: Judge,
  request: FuzzedRequest,
  ids: Map<string, string[]>,
): Promise<{ status: number; operation: string | undefined }> {
  const made = requestOf(request, ids)
  if (made === null) return { status: 0, operation: undefined }
  const { pathname } = new URL(made.url)
  // What earlier requests began has come as far as it can without time.
  await rig.environment.settle()
  const before = runtime.offset()
  const clock = rig.environment.monotonic()
  const answer = await rig.until(door.fetch(made), 70_000)
  const { status, headers } = answer
  const type = headers.get('content-type') ?? ''
  const what = `${made.method} ${pathname} was answered with ${status}`
  if (type.startsWith('text/event-stream')) await answer.body?.cancel()
  const text = type.startsWith('text/event-stream') ? '' : await answer.text()
  assert.notEqual(status, 500, `${what}: ${faults.join()}`)
  assert.deepEqual(faults, [], what)
  const isHead = made.method === 'HEAD'
  const operation = judge.operation(isHead ? 'GET' : made.method, pathname)
  if (operation !== undefined && !isHead) assert.equal(judge.fault(operation, status, type, text), null, what)
  else if (operation === undefined) {
    assert.ok(NOWHERE.includes(status), `${what}, though the document has no such thing`)
    if (!isHead) assert.equal(judge.faultOfError(JSON.parse(text)), null, what)
  }
  // A wait lets time pass, in which nodes do what they do.
  if (clock === rig.environment.monotonic() && (status >= 400 || made.method === 'GET' || isHead))
    assert.deepEqual(changedSince(runtime, before), [], `${what}, and changed this`)
  assert.equal(({} as { polluted?: unknown }).polluted, undefined)
  if (status < 300 && type.startsWith('application/json') && !isHead) {
    const { row } = JSON.parse(text) as { row?: { kind: string; id: string } }
    const of = row === undefined ? [] : (ids.get(row.kind) ?? [])
    if (row !== undefined && !of.includes(row.id)) ids.set(row.kind, [...of, row.id])
  }
  return { status, operation: operation?.operationId }
}

/** Null for what no client can send. */
function requestOf(request: FuzzedRequest, ids: Ids): Request | null {
  const { method, path, query, headers, body, isRaw } = request
  const place = isRaw
    ? path.join('/') || '/'
    : `/${path.map((part) => encodeURIComponent(filled(part, ids))).join('/')}`
  const search = new URLSearchParams(
    query.map(([name, value]): [string, string] => [name, filled(value, ids)]),
  )
  const url = `http://localhost${place}${query.length === 0 || place.includes('#') ? '' : `?${search}`}`
  const carries = body !== null && !/^(?:GET|HEAD)$/i.test(method)
  try {
    return new Request(url, {
      method,
      headers: headers.map(([name, value]) => [name, value] as [string, string]),
      ...(carries && { body: filled(body, ids) }),
    })
  } catch {
    return null
  }
}

/** Heartbeats aside, which come as they like. */
function changedSince(runtime: Runtime, offset: number): string[] {
  const keys: string[] = []
  runtime.watch((event) => event.type === 'change' && keys.push(event.key), { from: offset })()
  return keys.filter((key) => !key.startsWith('beat/'))
}

/** A run that failed, as a person reads it. */
export function toldOf(steps: readonly Step[]): string {
  return steps
    .map((step) => {
      if ('pause_ms' in step) return `  wait ${step.pause_ms} ms`
      const { method, path, query, headers, body, isRaw, spoiled } = step
      const short = (text: string) => (text.length > 200 ? `${text.slice(0, 200)}… (${text.length})` : text)
      const place = isRaw ? path.join('/') : `/${path.join('/')}`
      const search = query.map(([name, value]) => `${name}=${value}`).join('&')
      return short(
        `  ${method} ${place}${search && `?${search}`} ${JSON.stringify(headers)} ${body ?? ''} ${spoiled.length > 0 ? `(${spoiled.join(', ')})` : ''}`,
      )
    })
    .join('\n')
}

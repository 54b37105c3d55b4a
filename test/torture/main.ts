// npm run torture: the real `rekindle serve`, driven over HTTP by concurrent clients, killed with SIGKILL
// at random moments, started again, and checked: what was acknowledged is there and ends at rest, what was
// refused left no trace, nothing was worked on twice with one fence, files and rows agree, and one order
// explains every answer of every client (linearizability). Prints the command that repeats a failing run;
// exits 1 when a check fails.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { backup } from '../../machines/backup.ts'
import type { Ref, ResourceRow } from '../../machines/row.ts'
import { snapshot } from '../../machines/snapshot.ts'
import { volume } from '../../machines/volume.ts'
import { scan } from '../../runtime/drivers/file.ts'
import { History, type OpenCall, withoutEffect } from '../kit/history.ts'
import { Witness } from './witness.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    clients: { type: 'string', default: '8' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'max-life-ms': { type: 'string', default: '1500' },
    keep: { type: 'boolean', default: false },
  },
})
const kills = Number(values.kills)
const clients = Number(values.clients)
const seed = Number(values.seed)
const mostLife = Number(values['max-life-ms'])

/** A small seeded generator (mulberry32): the choices of a run, though not its timing, follow from the seed. */
let state = seed >>> 0
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!

const main = join(import.meta.dirname, '../../runtime/command/main.js')
const settings = {
  heartbeat_ms: 100,
  fence_after_ms: 400,
  down_after_ms: 800,
  sweep_ms: 50,
  abort_grace_ms: 200,
  restarts: 100,
}

/** What the clients were told. */
interface Told {
  /** By `kind/id`: accepts that were acknowledged. */
  readonly acknowledged: Map<string, number>
  /** By volume id: sizes that were asked for and refused, and sizes that may have been accepted. */
  readonly refusedSizes: Map<string, Set<number>>
  readonly askedSizes: Map<string, Set<number>>
  /** Idempotency: the id that was answered for a request id. */
  readonly requests: Map<string, { body: unknown; kind: string; id: string }>
  acknowledgements: number
  refusals: number
  unanswered: number
}

const told: Told = {
  acknowledged: new Map(),
  refusedSizes: new Map(),
  askedSizes: new Map(),
  requests: new Map(),
  acknowledgements: 0,
  refusals: 0,
  unanswered: 0,
}
const faults: string[] = []
const history = new History(() => performance.now())
let url = ''
let running = true
/** Resolves when the server of now is up: clients wait for it instead of knocking at a closed door. */
let ready: Promise<void> = Promise.resolve()

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return port
}

interface Reply {
  readonly status: number
  readonly body: Record<string, unknown>
}

/** Null where no answer came: the process was killed meanwhile, and what became of it is unknown. */
async function call(method: string, path: string, body?: unknown, requestId?: string): Promise<Reply | null> {
  try {
    const response = await fetch(url + path, {
      method,
      signal: AbortSignal.timeout(10_000),
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(requestId === undefined ? {} : { 'request-id': requestId }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  } catch {
    return null
  }
}

let requestIds = 0

/** Creates; after a lost answer it asks again with the same request id, as a careful client does. */
async function create(who: string, kind: string, body: Record<string, unknown>): Promise<string | null> {
  const requestId = `torture-${seed}-${++requestIds}`
  const asked = history.invoke(who, kind, { type: 'accept', operation: 'create' })
  for (let tries = 0; tries < 20; tries++) {
    const reply = await call('POST', `/resources/${kind}`, body, requestId)
    if (reply === null || reply.status === 503) {
      told.unanswered++
      await pause(50)
      await ready
      continue
    }
    if (reply.status >= 500)
      faults.push(`POST ${kind} answered ${reply.status}: ${JSON.stringify(reply.body)}`)
    const id = reply.body.id
    if (reply.status < 300 && typeof id === 'string') {
      note(kind, id)
      if (reply.body.repeated === true) asked.accepted(`${kind}/${id}`)
      else asked.row(reply.body.row as ResourceRow)
      told.requests.set(requestId, { body, kind, id })
      return id
    }
    told.refusals++
    refuse(asked, reply)
    return null
  }
  return null
}

/** Writes down a definite no; after any other nobody knows what became of the call. */
function refuse(asked: OpenCall, { body }: Reply): void {
  const error = body.error as { code: string; resource: Ref; found: string; guard: string | null }
  if (error.code === 'refused') asked.refusal(error)
  else if (error.code === 'unknown_id') asked.absent()
  else if (withoutEffect.includes(error.code)) asked.withdrawn()
}

/** One look at a row, whoever works on it. */
async function look(who: string, kind: string, id: string): Promise<void> {
  const asked = history.invoke(who, `${kind}/${id}`, { type: 'read' })
  const reply = await call('GET', `/resources/${kind}/${id}`)
  if (reply === null || reply.status === 503) await ready
  else if (reply.status === 200) asked.row(reply.body as unknown as ResourceRow)
  else refuse(asked, reply)
}

async function operate(
  who: string,
  kind: string,
  id: string,
  operation: string,
  body?: Record<string, unknown>,
): Promise<void> {
  const size = body?.size as number | undefined
  const asked = history.invoke(
    who,
    `${kind}/${id}`,
    operation === 'cancel' ? { type: 'cancel' } : { type: 'accept', operation },
  )
  const reply = await call('POST', `/resources/${kind}/${id}/${operation}`, body ?? {})
  if (reply !== null && reply.status >= 500 && reply.status !== 503)
    faults.push(`${operation} of ${kind} ${id} answered ${reply.status}: ${JSON.stringify(reply.body)}`)
  if (reply === null || reply.status === 503) {
    told.unanswered++
    if (reply !== null) refuse(asked, reply)
    if (size !== undefined) setOf(told.askedSizes, id).add(size)
    await pause(20)
    await ready
    return
  }
  if (reply.status < 300) {
    note(kind, id)
    asked.row(reply.body.row as ResourceRow)
    if (size !== undefined) setOf(told.askedSizes, id).add(size)
    return
  }
  told.refusals++
  refuse(asked, reply)
  if (size !== undefined) setOf(told.refusedSizes, id).add(size)
}

function note(kind: string, id: string): void {
  const key = `${kind}/${id}`
  told.acknowledged.set(key, (told.acknowledged.get(key) ?? 0) + 1)
  told.acknowledgements++
}

function setOf(map: Map<string, Set<number>>, key: string): Set<number> {
  const set = map.get(key) ?? new Set()
  map.set(key, set)
  return set
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

let sizes = 0
/** Sizes are unique, so that a row's size tells which accept it came from. */
const uniqueSize = () => Number((0.002 + ++sizes * 0.000001).toFixed(6))

/** Volumes that all clients ask things of at once: what is accepted of one is refused to another. */
const shared: string[] = []
const mostShared = 4

/** One client: makes, extends, looks, snapshots, backs up, restores, deletes, at random, until told to stop. */
async function client(number: number): Promise<void> {
  const who = `client ${number}`
  const own: string[] = []
  const snapshots: string[] = []
  const backups: string[] = []
  while (running) {
    const volumes = shared.length > 0 && random() < 0.4 ? shared : own
    const dice = random()
    if (own.length < 3 || dice < 0.12) {
      const size = uniqueSize()
      const id = await create(who, 'volume', { name: `v${sizes}`, size })
      if (id !== null) {
        if (shared.length < mostShared) shared.push(id)
        else own.push(id)
        setOf(told.askedSizes, id).add(size)
      }
    } else if (dice < 0.25) await look(who, 'volume', pick(volumes))
    else if (dice < 0.45) await operate(who, 'volume', pick(volumes), 'extend', { size: uniqueSize() })
    else if (dice < 0.55) {
      const id = await create(who, 'snapshot', { name: 's', volume_id: pick(volumes) })
      if (id !== null) snapshots.push(id)
    } else if (dice < 0.65) {
      const id = await create(who, 'backup', { name: 'b', volume_id: pick(volumes) })
      if (id !== null) backups.push(id)
    } else if (dice < 0.72 && backups.length > 0)
      await operate(who, 'backup', pick(backups), 'restore', { volume_id: pick(volumes) })
    else if (dice < 0.8 && snapshots.length > 0) await operate(who, 'snapshot', pick(snapshots), 'delete')
    else if (dice < 0.86 && backups.length > 0) await operate(who, 'backup', pick(backups), 'delete')
    else if (dice < 0.9) await operate(who, 'volume', leaving(volumes), 'force_delete')
    else if (dice < 0.97) await operate(who, 'volume', leaving(volumes), 'delete')
    else await operate(who, 'volume', pick(volumes), 'cancel')
    if (own.length > 12) own.shift()
  }
}

/** One that may be deleted: sooner or later another takes its place among the shared ones. */
function leaving(volumes: string[]): string {
  const id = pick(volumes)
  if (volumes === shared && random() < 0.3) shared.splice(shared.indexOf(id), 1)
  return id
}

function start(data: string, port: number): { process: ChildProcess; up: Promise<void> } {
  const child = spawn(
    process.execPath,
    [
      main,
      'serve',
      '--data',
      data,
      '--port',
      String(port),
      '--settings',
      JSON.stringify(settings),
      '--work-ms',
      '20',
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let output = ''
  child.stderr!.on('data', (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-20_000)
  })
  child.stdout!.resume()
  let killed = false
  const up = (async () => {
    for (let tries = 0; tries < 400; tries++) {
      if (child.exitCode !== null) throw new Error(`serve ended with ${child.exitCode}:\n${output}`)
      if ((await call('GET', '/nodes')) !== null) return
      await pause(25)
    }
    throw new Error(`serve did not come up:\n${output}`)
  })()
  child.on('exit', (code, signal) => {
    killed = signal === 'SIGKILL'
    if (!killed && code !== 0) faults.push(`serve ended by itself with ${code ?? signal}:\n${output}`)
  })
  return { process: child, up }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill(signal)
  await ended
}

async function listAll(kind: string): Promise<ResourceRow[]> {
  const rows: ResourceRow[] = []
  let after: string | null = null
  do {
    const query: string = after === null ? '' : `?after=${after}`
    const reply = await call('GET', `/resources/${kind}${query}`)
    if (reply === null || reply.status !== 200) throw new Error(`list of ${kind}: ${JSON.stringify(reply)}`)
    rows.push(...(reply.body.rows as ResourceRow[]))
    after = reply.body.next as string | null
  } while (after !== null)
  return rows
}

/** A life that is killed before it accepted anything proves little: on a slow machine nodes take a while to be up. */
async function workBegun(): Promise<void> {
  const before = told.acknowledgements
  for (let tries = 0; tries < 400 && told.acknowledgements === before; tries++) await pause(25)
}

const KINDS = ['volume', 'snapshot', 'backup'] as const

async function allAtRest(): Promise<Map<string, ResourceRow>> {
  for (let tries = 0; tries < 600; tries++) {
    const rows = new Map<string, ResourceRow>()
    for (const kind of KINDS) for (const row of await listAll(kind)) rows.set(`${kind}/${row.id}`, row)
    const busy = [...rows.values()].filter((row) => row.operation !== null || row.held_by !== null)
    if (busy.length === 0) return rows
    if (tries === 599)
      faults.push(
        `all_at_rest: still busy: ${busy
          .slice(0, 5)
          .map((row) => JSON.stringify(row))
          .join('\n')}`,
      )
    await pause(50)
  }
  return new Map()
}

/** Every check of the invariants that can be made from outside. */
async function check(rows: Map<string, ResourceRow>, images: string): Promise<void> {
  for (const key of told.acknowledged.keys())
    if (!rows.has(key)) faults.push(`durable_is_visible: ${key} was acknowledged and is not there`)
  for (const [id, sizesRefused] of told.refusedSizes) {
    const size = rows.get(`volume/${id}`)?.data.size as number | undefined
    if (size !== undefined && sizesRefused.has(size) && !told.askedSizes.get(id)?.has(size))
      faults.push(`a refused extend of volume ${id} to ${size} left its trace`)
  }
  for (const [requestId, { body, kind, id }] of [...told.requests].slice(-200)) {
    const reply = await call('POST', `/resources/${kind}`, body, requestId)
    if (reply?.body.id !== id)
      faults.push(`request ${requestId} was answered with ${id}, now with ${JSON.stringify(reply?.body)}`)
  }
  const present = await scan(images)
  for (const kind of KINDS) {
    const files = new Set(present[kind])
    for (const [key, row] of rows) {
      if (row.kind !== kind) continue
      const there = files.delete(row.id)
      if (row.status === 'available' && !there)
        faults.push(`store_and_backend_agree: ${key} is available, its file is gone`)
      if (row.status === 'gone' && there)
        faults.push(`store_and_backend_agree: ${key} is gone, its file is there`)
    }
    for (const id of files) faults.push(`store_and_backend_agree: a file of ${kind} ${id} has no row`)
  }
}

/** One order must explain what every client was told, the rows of the end included. */
async function checkHistory(): Promise<string> {
  const looks = new Map<string, OpenCall>()
  for (const { key } of history.calls)
    if (key !== null && !looks.has(key)) looks.set(key, history.invoke('the end', key, { type: 'read' }))
  for (const kind of KINDS) for (const row of await listAll(kind)) looks.get(`${kind}/${row.id}`)?.row(row)
  const result = history.check([volume, snapshot, backup])
  if (result.verdict === 'not_linearizable') faults.push(`linearizability: ${result.explanation}`)
  if (result.verdict === 'undecided')
    faults.push(`linearizability: too long to decide for ${result.keys.join(', ')}`)
  return result.verdict === 'linearizable'
    ? `${result.calls} calls of ${result.resources} resources linearizable`
    : result.verdict
}

async function run(): Promise<void> {
  const data = await mkdtemp(join(tmpdir(), 'rekindle-torture-'))
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  const witness = new Witness(url, faults)
  let server = start(data, port)
  await server.up
  witness.connect()
  const working = Promise.all(Array.from({ length: clients }, (_, index) => client(index + 1)))
  for (let kill = 1; kill <= kills && faults.length === 0; kill++) {
    await workBegun()
    await pause(50 + random() * mostLife)
    await end(server.process, 'SIGKILL')
    server = start(data, port)
    ready = server.up
    await ready
    process.stderr.write(
      `\rkill ${kill} of ${kills}: ${told.acknowledgements} acknowledged, ${told.refusals} refused, ${told.unanswered} without an answer   `,
    )
  }
  process.stderr.write('\n')
  running = false
  await working
  const rows = await allAtRest()
  await check(rows, join(data, 'images', 'demo@file'))
  await witness.close()
  witness.check(rows)
  const linearizable = await checkHistory()
  await end(server.process, 'SIGTERM')
  const summary = `${kills} kills, ${told.acknowledgements} accepts acknowledged, ${told.refusals} refused, ${told.unanswered} without an answer, ${witness.claims} claims seen, ${rows.size} resources at rest, ${linearizable}`
  if (faults.length > 0) {
    process.stdout.write(`${summary}\nFAILED:\n${faults.slice(0, 20).join('\n')}\n`)
    process.stdout.write(
      `data kept in ${data}\nagain: npm run torture -- --seed ${seed} --kills ${kills} --clients ${clients}\n`,
    )
    process.exitCode = 1
    return
  }
  if (!values.keep) await rm(data, { recursive: true, force: true })
  process.stdout.write(`${summary}\nevery check held (seed ${seed})\n`)
}

await run()
process.exit()

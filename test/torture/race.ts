// npm run race: the real `rekindle serve`, and client processes that race for the same fifty volumes over
// HTTP: delete, extend, attach, detach, snapshot, backup, restore, cancel, force. A watcher follows the feed: every
// row must be a state that the tables know, and after every commit each project's quota must be exactly what
// its rows take. A refusal must say what was expected and found. Exits 1 when a check fails.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { backup } from '../../machines/backup.ts'
import type { QuotaRow } from '../../machines/quota.ts'
import { statePathOf } from '../../machines/resource.ts'
import { isGone, type ResourceRow } from '../../machines/row.ts'
import { snapshot } from '../../machines/snapshot.ts'
import { volume } from '../../machines/volume.ts'
import { scan } from '../../runtime/drivers/file.ts'
import type { StoredRow } from '../../store/store.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    processes: { type: 'string', default: '2' },
    clients: { type: 'string', default: '16' },
    volumes: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    /** For its own client processes. */
    client: { type: 'string' },
  },
})
const seconds = Number(values.seconds)
const volumes = Number(values.volumes)
const PROJECT = 'lab'
/** As many volumes as there are at the start: each delete lets one create in. */
const LIMITS = { volumes, gigabytes: volumes * 0.03, snapshots: volumes, backups: volumes }

interface Reply {
  readonly status: number
  readonly body: { readonly [field: string]: unknown }
}

async function call(url: string, path: string, body?: unknown): Promise<Reply> {
  const answer = await fetch(url + path, {
    method: body === undefined ? 'GET' : 'POST',
    ...(body === undefined
      ? {}
      : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as Reply['body'] }
}

/** What a client process tells at its end. */
interface Told {
  readonly accepted: number
  readonly refused: number
  readonly over_quota: number
  readonly faults: readonly string[]
}

async function runClients(url: string, seed: number): Promise<Told> {
  let state = seed >>> 0
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0
    const mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const told = { accepted: 0, refused: 0, over_quota: 0, faults: [] as string[] }
  const ids = { volume: [] as string[], snapshot: [] as string[], backup: [] as string[] }
  const look = async () => {
    for (const kind of ['volume', 'snapshot', 'backup'] as const) {
      const { body } = await call(url, `/resources/${kind}`)
      ids[kind] = (body.rows as ResourceRow[]).filter((row) => !isGone(row)).map(({ id }) => id)
    }
  }
  const ask = async (path: string, body: object) => {
    const { status, body: answer } = await call(url, path, body)
    if (status < 300) told.accepted++
    else if (status === 409) {
      const error = answer.error as { expected?: string[]; found?: string; guard?: string | null }
      told.refused++
      if (error.expected?.[0]?.startsWith('at most')) told.over_quota++
      if (!error.found || !(error.guard || error.expected?.length))
        told.faults.push(`${path}: a refusal without what was expected and found: ${JSON.stringify(error)}`)
    } else if (status !== 404) told.faults.push(`${path} answered ${status}: ${JSON.stringify(answer)}`)
  }
  const until = Date.now() + seconds * 1_000
  const one = async (number: number) => {
    while (Date.now() < until) {
      if (number === 0 || ids.volume.length === 0) await look()
      const dice = random()
      const v = ids.volume.length > 0 ? `/resources/volume/${pick(ids.volume)}` : null
      if (v === null || dice < 0.1)
        await ask('/resources/volume', {
          name: 'v',
          size: 0.004,
          project: PROJECT,
          multiattach: random() < 0.5,
        })
      else if (dice < 0.3) await ask(`${v}/extend`, { size: 0.004 + Math.floor(random() * 40) / 1_000 })
      else if (dice < 0.38) await ask(`${v}/delete`, { cascade: random() < 0.5 })
      else if (dice < 0.5)
        await ask(`${v}/attach`, { host: `g${Math.floor(random() * 3)}`, device: '/dev/vdb' })
      else if (dice < 0.6) await ask(`${v}/detach`, {})
      else if (dice < 0.7)
        await ask('/resources/snapshot', { name: 's', volume_id: v.split('/')[3], project: PROJECT })
      else if (dice < 0.8)
        await ask('/resources/backup', { name: 'b', volume_id: v.split('/')[3], project: PROJECT })
      else if (dice < 0.84 && ids.snapshot.length > 0)
        await ask(`/resources/snapshot/${pick(ids.snapshot)}/delete`, {})
      else if (dice < 0.88 && ids.backup.length > 0)
        await ask(`/resources/backup/${pick(ids.backup)}/delete`, {})
      else if (dice < 0.92 && ids.backup.length > 0)
        await ask(`/resources/backup/${pick(ids.backup)}/restore`, { volume_id: v.split('/')[3] })
      else if (dice < 0.94) await ask(`${v}/force_delete`, { cascade: true })
      else if (dice < 0.96) await ask(`${v}/reset_status`, { status: 'error' })
      else if (dice < 0.98) await ask(`${v}/cancel`, {})
      else if (ids.snapshot.length > 0) await ask(`${v}/revert`, { snapshot_id: pick(ids.snapshot) })
    }
  }
  await Promise.all(Array.from({ length: Number(values.clients) }, (_, number) => one(number)))
  return told
}

/** Follows the feed and judges every commit. */
class Watcher {
  readonly rows = new Map<string, StoredRow>()
  readonly faults: string[] = []
  commits = 0
  readonly #types = new Map([volume, snapshot, backup].map((type) => [type.kind as string, type]))
  readonly #paths = new Map<string, ReadonlySet<string>>()

  see(changes: readonly { readonly key: string; readonly row: StoredRow | null }[]): void {
    this.commits++
    for (const { key, row } of changes) {
      const before = this.rows.get(key)
      if (row === null) {
        this.rows.delete(key)
        continue
      }
      this.rows.set(key, row)
      if (before !== undefined && row.version !== before.version + 1)
        this.#fault(`${key}: version ${row.version} after ${before.version}`)
      if (this.#types.has(row.kind)) this.#judge(key, row as unknown as ResourceRow)
    }
    this.#countQuotas()
  }

  #fault(message: string): void {
    if (this.faults.length < 20) this.faults.push(message)
  }

  #judge(key: string, row: ResourceRow): void {
    const type = this.#types.get(row.kind)!
    let known = this.#paths.get(row.kind)
    if (known === undefined) {
      known = new Set(
        type.statuses.all.flatMap((status) =>
          type.statuses.transitional.includes(status)
            ? ['queued', 'working', 'cleanup_queued', 'cleaning'].map((sub) => `${status}.${sub}`)
            : [status],
        ),
      )
      this.#paths.set(row.kind, known)
    }
    const path = statePathOf(row)
    if (!known.has(path)) this.#fault(`${key}: the impossible state ${path}`)
    const isFree =
      row.operation === null && row.worker === null && row.incarnation === null && row.held_by === null
    const isRest = type.statuses.rest.includes(row.status) || isGone(row)
    if (isFree !== isRest)
      this.#fault(`${key}: ${path} with worker ${row.worker} and holder ${row.held_by?.id}`)
    const attachments = (row.data.attachments ?? []) as readonly unknown[]
    if (row.status === 'available' && attachments.length > 0) this.#fault(`${key}: available and attached`)
    if (row.status === 'in-use' && attachments.length === 0) this.#fault(`${key}: in-use and not attached`)
  }

  /** Within each commit: what is counted is what the rows take. */
  #countQuotas(): void {
    const taken: { [resource: string]: number } = {}
    for (const row of this.rows.values()) {
      const quota = this.#types.get(row.kind)?.table.quota
      const resource = row as unknown as ResourceRow
      if (quota === undefined || isGone(resource) || quota.project(resource) !== PROJECT) continue
      for (const [name, amount] of Object.entries(quota.usage(resource)))
        taken[name] = (taken[name] ?? 0) + (amount as number)
    }
    const counted = this.rows.get(`quota/${PROJECT}`) as QuotaRow | undefined
    for (const [name, amount] of Object.entries(counted?.used ?? {}))
      if (Math.abs(amount - (taken[name] ?? 0)) > 1e-6)
        this.#fault(`quota: ${amount} ${name} are counted, the rows take ${taken[name] ?? 0}`)
    for (const [name, limit] of Object.entries(counted?.limits ?? {}))
      if ((taken[name] ?? 0) > limit + 1e-6) this.#fault(`quota: ${taken[name]} ${name} of at most ${limit}`)
  }
}

async function follow(url: string, watcher: Watcher, signal: AbortSignal): Promise<void> {
  const answer = await fetch(`${url}/events?from=0`, { signal })
  let text = ''
  let commit: { key: string; row: StoredRow | null }[] = []
  for await (const piece of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += piece
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const message = text.slice(0, end)
      text = text.slice(end + 2)
      const data = /^data: (.*)$/m.exec(message)?.[1]
      const event = data === undefined ? null : JSON.parse(data)
      if (event?.type !== 'change') continue
      commit.push({ key: event.key, row: event.row })
      // The last change of a commit carries its place in the feed.
      if (!/^id: /m.test(message)) continue
      watcher.see(commit)
      commit = []
    }
  }
}

function startServe(data: string, port: number): ChildProcess {
  const main = join(import.meta.dirname, '../../runtime/command/main.js')
  const args = ['serve', '--data', data, '--port', String(port), '--nodes', 'demo@file:h1,h2,h3']
  return spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return port
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function clientProcess(url: string, seed: number): Promise<Told> {
  const self = fileURLToPath(import.meta.url)
  const child = spawn(
    process.execPath,
    [
      self,
      '--client',
      url,
      '--seed',
      String(seed),
      '--seconds',
      String(seconds),
      '--clients',
      values.clients,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let output = ''
  child.stdout!.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  await new Promise((resolve) => child.on('exit', resolve))
  return JSON.parse(output) as Told
}

async function race(): Promise<number> {
  const data = await mkdtemp(join(tmpdir(), 'rekindle-race-'))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const server = startServe(data, port)
  const watcher = new Watcher()
  const faults: string[] = []
  const watching = new AbortController()
  try {
    while (
      !(await call(url, '/nodes').then(
        ({ status }) => status === 200,
        () => false,
      ))
    )
      await pause(50)
    await call(url, `/quotas/${PROJECT}`, LIMITS)
    const followed = follow(url, watcher, watching.signal).catch(() => {})
    await Promise.all(
      Array.from({ length: volumes }, () =>
        call(url, '/resources/volume?wait=30', {
          name: 'v',
          size: 0.004,
          project: PROJECT,
          multiattach: true,
        }),
      ),
    )
    const seeds = Array.from({ length: Number(values.processes) }, (_, i) => Number(values.seed) * 1_000 + i)
    const told = await Promise.all(seeds.map((seed) => clientProcess(url, seed)))
    faults.push(...told.flatMap((one) => one.faults))
    const isAtRest = () =>
      [...watcher.rows.values()].every((row) => row.operation == null && row.held_by == null)
    for (let i = 0; i < 600 && !isAtRest(); i++) await pause(50)
    await pause(500)
    watching.abort()
    await followed
    if (!isAtRest()) faults.push('not everything came to rest')
    const { body } = await call(url, '/stuck')
    if ((body.stuck as unknown[]).length > 0) faults.push(`stuck: ${JSON.stringify(body.stuck)}`)
    const rows = [...watcher.rows.values()] as unknown as ResourceRow[]
    const found = await scan(join(data, 'images', 'demo@file')).catch(() => null)
    for (const kind of found === null ? [] : (['volume', 'snapshot', 'backup'] as const)) {
      const there = rows.filter((row) => row.kind === kind && !isGone(row) && row.status === 'available')
      for (const { id } of there)
        if (!found![kind].includes(id)) faults.push(`${kind}/${id} is available and has no file`)
      for (const id of found![kind])
        if (rows.every((row) => row.kind !== kind || row.id !== id || isGone(row)))
          faults.push(`${kind}/${id} has a file and no row`)
    }
    faults.push(...watcher.faults)
    const sum = (name: 'accepted' | 'refused' | 'over_quota') =>
      told.reduce((total, one) => total + one[name], 0)
    const quota = watcher.rows.get(`quota/${PROJECT}`) as unknown as QuotaRow
    console.log(
      `${sum('accepted')} accepted, ${sum('refused')} refused (${sum('over_quota')} by a quota), ${watcher.commits} commits watched, quota at the end ${JSON.stringify(quota.used)} of ${JSON.stringify(quota.limits)}`,
    )
    if (sum('over_quota') === 0) faults.push('no quota was ever reached: the race shows nothing about them')
  } finally {
    server.kill('SIGTERM')
    await new Promise((resolve) => server.on('exit', resolve))
    await rm(data, { recursive: true, force: true })
  }
  for (const fault of faults.slice(0, 20)) console.log(`FAULT ${fault}`)
  console.log(faults.length === 0 ? 'every check held' : `${faults.length} checks failed`)
  return faults.length === 0 ? 0 : 1
}

if (values.client !== undefined)
  process.stdout.write(JSON.stringify(await runClients(values.client, Number(values.seed))))
else process.exitCode = await race()

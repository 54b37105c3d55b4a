// npm run night: a night in the life of a system, with the real `rekindle serve` under load the whole time: a
// rolling restart, a backend that hangs, a full disk, a frozen cluster, a new name for a host, a new version of a definition. Every step is done
// with the commands that an operator types, and shows `rekindle stuck` and the key metrics. Exits 1 when a check
// does not hold.

import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { ResourceRow } from '../../runtime/index.ts'
import { Load } from './load.ts'
import { HANGING } from './site_driver.ts'
import { NightStopped, World } from './world.ts'

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '8' },
    keep: { type: 'boolean', default: false },
  },
})

const SETTINGS = {
  ...{ heartbeat_ms: 500, fence_after_ms: 1_500, down_after_ms: 2_500, sweep_ms: 250 },
  ...{ abort_grace_ms: 500, restarts: 50, concurrency: 4 },
}
/** Sites live at `web`, and at `spare` while nothing new may go to `web`. */
const WEB = ['w1', 'w2', 'w3'] as const
const DISK_MIB = 96
/** Of each volume, in bytes. */
const FILLED = 1 << 20

const checks: { readonly check: string; readonly held: boolean; readonly found: string }[] = []
const say = (text: string) => void process.stdout.write(`${text}\n`)
let step = 0
/** Sites that were made to find out whether any can be. */
const probes: string[] = []
const heading = (text: string) => say(`\n${++step}. ${text}`)

function check(what: string, held: boolean, found: unknown = ''): void {
  checks.push({ check: what, held, found: String(found) })
  say(`   ${held ? 'yes' : 'NO '}  ${what}${found === '' ? '' : ` (${found})`}`)
}

const began = performance.now()
const folder = await mkdtemp(join(tmpdir(), 'rekindle-night-'))
const data = join(folder, 'data')
const sites = join(folder, 'sites')
mkdirSync(data)
const isMounted = mount(data)
const world = new World(folder, data)
try {
  await night()
} catch (error) {
  if (!(error instanceof NightStopped)) throw error
  check('the night came to its end', false, error.message)
} finally {
  world.kill()
  if (isMounted) execFileSync('umount', ['--lazy', data])
  if (values.keep) say(`\nThe files are in ${folder}.`)
  else rmSync(folder, { recursive: true, force: true })
}
const broken = checks.filter(({ held }) => !held)
say(
  broken.length === 0
    ? `\nAll ${checks.length} checks held, in ${Math.round((performance.now() - began) / 1_000)} seconds.`
    : `\n${broken.length} of ${checks.length} checks did not hold: ${broken.map(({ check: what }) => what).join('; ')}`,
)
if (broken.length > 0) say(`The end of what serve said:\n${world.log.slice(-4_000)}`)
process.exit(broken.length === 0 ? 0 : 1)

async function night(): Promise<void> {
  heading('Evening: three nodes serve sites, one host of its own keeps volumes, clients are at work')
  const evening = configuration({ vault: undefined })
  await world.start(evening)
  const volumes = await filledVolumes()
  const load = new Load(world, Number(values.clients))
  await load.more(30)
  say(
    `   ${load.done} operations of ${values.clients} clients ended already; ${volumes.length} volumes are filled.`,
  )
  await look()

  heading('A rolling restart: each node is drained, ended and started again')
  const before = await world.metrics()
  for (const host of WEB) {
    const drained = await world.command(['node', 'drain', host, '--wait'])
    check(`${host} is drained`, drained.code === 0, drained.code === 0 ? '' : drained.stderr.trim())
    const life = (await world.node(host))!.incarnation
    await world.command(['node', 'kill', host])
    await world.until(`${host} ends`, async () => (await world.node(host))?.here === null)
    await world.command(['node', 'start', host])
    await world.until(
      `${host} is up in its next life`,
      async () =>
        (await world.node(host))?.here?.state === 'up' && (await world.node(host))!.incarnation > life,
    )
    await load.more(5)
  }
  const after = await world.metrics()
  const interrupted = total(after, 'rekindle_cleanups_total') - total(before, 'rekindle_cleanups_total')
  check('nothing was interrupted by it', interrupted === 0, `${interrupted} operations put right`)
  await look()

  heading('The backend of w2 hangs: its calls do not come back, and hear no signal')
  writeFileSync(join(sites, HANGING), 'w2@site')
  await world.until(
    'some calls hang',
    async () => ((await world.node('w2'))?.here?.working_on.length ?? 0) >= 2,
  )
  await pause(500)
  const hanging = (await world.node('w2'))!.here!.working_on
  const waited = await world.command(['node', 'drain', 'w2', '--wait'], 6_000)
  say(`   $ rekindle node drain w2 --wait\n${indented(waited.stderr)}`)
  check(
    'a drain of it does not end, and says what is left',
    waited.code === 130 && waited.stderr.includes('left'),
  )
  await world.command(['node', 'kill', 'w2'])
  await world.until('what hangs is listed as stuck', async () => (await world.stuck()).length > 0)
  await look()
  const told = (await world.stuck()).filter(({ reason }) => reason === 'leftover_call')
  check(
    'each resource that waits for a call that hangs is listed',
    told.length >= hanging.length,
    `${told.length}`,
  )
  await load.more(10)
  say('   The others go on meanwhile. The mount is taken away, so that its calls fail at last:')
  rmSync(join(sites, HANGING))
  await world.until('nothing is stuck', async () => (await world.stuck()).length === 0)
  await world.command(['node', 'start', 'w2'])
  const ended = await Promise.all(hanging.map(({ kind, id }) => untilOver(kind, id)))
  check(
    'what hung was done all the same',
    ended.every(({ status, error }) => status !== 'error' && error === null),
    ended.map(({ status, host }) => `${status} by ${host}`).join(', '),
  )
  await load.more(10)
  await look()

  heading('The disk of the store is full')
  if (isMounted) await fullDisk(load)
  else
    say(
      '   Not shown: a small disk can be mounted by root alone. In one process, with a disk that says so:\n   $ npx vitest run test/faults/disk.test.ts',
    )

  heading('web@site is frozen, while its array fails over, and thawed')
  world.isFrozen = true
  const frozen = await world.command(['cluster', 'freeze', 'web@site', '--reason', 'the array fails over'])
  say(`   ${frozen.stdout.trim()}`)
  const there = new Set(load.sites.map(({ id }) => id))
  await load.more(40)
  const made = load.sites.filter(({ id }) => !there.has(id))
  const clusters = await Promise.all(made.map(async ({ id }) => (await rowOf('site', id))?.cluster))
  // One that was accepted before may be answered after.
  const late = clusters.filter((cluster) => cluster === 'web@site').length
  check(
    'new sites go elsewhere',
    clusters.length > late && late <= Number(values.clients),
    clusters.length - late,
  )
  await world.until('a delete is refused', () => load.refusedByFreeze > 0)
  await look()
  await world.command(['cluster', 'thaw', 'web@site'])
  const refused = load.refusedByFreeze
  await pause(1_000)
  world.isFrozen = false
  const since = load.sites.length
  await load.more(40)
  check('deletes were refused, and changes were not', refused > 0, `${refused} refused`)
  check('after the thaw new sites go there again', await anyAt(load.sites.slice(since), 'web@site'))
  await look()

  heading('The host that keeps volumes gets a proper name: h9@file becomes vault@file')
  await renamed(volumes, load)

  heading('A new version of the definition of sites: live is called online, and each has a theme')
  await upgraded(load)

  heading('Morning: what was promised is there')
  await load.stop()
  await look()
  await judged(load, volumes)
}

function configuration(of: { readonly vault: string | undefined; readonly site?: string }): object {
  const at = (path: string) => join(import.meta.dirname, path)
  const node = { backend: 'site', driver: at('./site_driver.js'), folder: sites }
  return {
    ...{ data, door: { port: 0 }, settings: SETTINGS, definitions: [at(of.site ?? './site.js')] },
    nodes: [
      { ...node, cluster: 'web', hosts: WEB, options: { free_gib: 90 } },
      { ...node, cluster: 'spare', hosts: ['s1'], options: { free_gib: 10 } },
      { ...(of.vault !== undefined && { cluster: of.vault }), backend: 'file', hosts: ['h9'] },
    ],
  }
}

/** What an operator looks at first. */
async function look(): Promise<void> {
  const { stdout } = await world.command(['stuck'])
  say(`   $ rekindle stuck\n${indented(stdout)}`)
  const metrics = await world.metrics()
  check('/metrics tells', metrics.size > 0)
  const key = [
    ['accepted', total(metrics, 'rekindle_accepted_total')],
    ['ended', total(metrics, 'rekindle_operation_seconds_count')],
    ['queued', total(metrics, 'rekindle_queued')],
    ['in flight', total(metrics, 'rekindle_in_flight')],
    ['put right', total(metrics, 'rekindle_cleanups_total')],
    ['lives ended', total(metrics, 'rekindle_lives_ended_total')],
    ['leftover calls', total(metrics, 'rekindle_leftover_calls')],
    ['store open', total(metrics, 'rekindle_store_open')],
  ]
  say(`   /metrics: ${key.map(([name, value]) => `${name} ${value}`).join(', ')}`)
}

/** Of all samples of that name, whatever their labels. */
function total(metrics: ReadonlyMap<string, number>, name: string): number {
  let sum = 0
  for (const [sample, value] of metrics) if (sample === name || sample.startsWith(`${name}{`)) sum += value
  return sum
}

async function fullDisk(load: Load): Promise<void> {
  const filler = join(data, 'filler')
  await load.more(5)
  try {
    const piece = Buffer.alloc(1 << 20)
    for (;;) writeFileSync(filler, piece, { flag: 'a' })
  } catch (error) {
    say(`   A forgotten dump fills it: ${(error as NodeJS.ErrnoException).code}.`)
  }
  // What is left of the last piece: nothing more fits at all.
  for (let size = 4_096; size >= 1; size >>= 1)
    try {
      for (;;) writeFileSync(filler, Buffer.alloc(size), { flag: 'a' })
    } catch {
      // Full.
    }
  let refusal: { code?: string } | undefined
  await world.until('accepts are refused', async () => {
    const reply = await world.call('POST', '/resources/site', { name: 'late' })
    if (reply !== null && reply.status < 300) probes.push(String(reply.body.id))
    refusal = reply?.status === 503 ? (reply.body.error as { code: string }) : undefined
    return refusal !== undefined
  })
  await world.until('the nodes stop their work', async () => {
    const nodes = await world.nodes()
    return nodes.every(({ here }) => here === null || here.state !== 'up')
  })
  const nodes = await world.nodes()
  check(
    'callers are told to come back later',
    /^store_|^no_cluster$/.test(refusal?.code ?? ''),
    refusal?.code,
  )
  check(
    'no node goes on without the store',
    nodes.every(({ here }) => (here?.working_on.length ?? 0) === 0),
  )
  await look()
  const { done } = load
  await pause(1_000)
  check('nothing is told to be done meanwhile', load.done === done)
  rmSync(filler)
  say('   The dump is removed. Nothing else is done:')
  await load.more(20)
  await world.until('every node is up again by itself', async () =>
    (await world.nodes()).every(({ here }) => here?.state === 'up'),
  )
  await look()
}

async function renamed(volumes: readonly Volume[], load: Load): Promise<void> {
  say('   serve is ended and started with the new name in its configuration; the rest moves by itself.')
  check('it ended well', (await world.end()) === 0)
  await world.start(configuration({ vault: 'vault' }))
  await world.until('every volume is of vault@file', async () => {
    const found = await Promise.all(volumes.map(({ id }) => rowOf('volume', id)))
    return found.every((row) => row?.cluster === 'vault@file')
  })
  check(
    'its folder went along',
    existsSync(join(data, 'images/vault@file')) && !existsSync(join(data, 'images/h9@file')),
  )
  const [{ id }] = volumes as readonly [Volume]
  const extended = await world.command(['op', 'volume', id, 'extend', '--set', 'size=0.004', '--wait'])
  check('a volume is extended there', extended.code === 0, extended.code === 0 ? '' : extended.stderr.trim())
  await load.more(20)
  await look()
}

/** The plug is pulled with operations under way: the new version has to go on with them. */
async function upgraded(load: Load): Promise<void> {
  await world.until('operations are under way', async () =>
    (await world.nodes()).some(({ here }) => (here?.working_on.length ?? 0) > 0),
  )
  await world.killed()
  world.configure(configuration({ vault: 'vault', site: './site_next.js' }))
  const dry = await world.command(['migrate', '--config', world.configFile, '--dry-run'])
  say(`   $ rekindle migrate --dry-run\n${indented(dry.stdout)}`)
  check('a dry run tells what would change', dry.code === 0 && /live → online/.test(dry.stdout))
  const first = await world.command(['migrate', '--config', world.configFile, '--dry-run'])
  check('and changed nothing', first.stdout === dry.stdout)
  await world.start(configuration({ vault: 'vault', site: './site_next.js' }))
  await load.more(30)
  const row = await rowOf('site', load.sites.find(({ removed }) => !removed)!.id)
  check(
    'a site of the evening is of the new version',
    row?.data.theme === 'plain' && row.definition_version === 2,
  )
  await look()
}

interface Volume {
  readonly id: string
  readonly hash: string
}

function hashOf(path: string): string {
  return createHash('sha256').update(readFileSync(path).subarray(0, FILLED)).digest('hex')
}

/** Volumes of the host that gets another name later, with something in them. */
async function filledVolumes(): Promise<readonly Volume[]> {
  const volumes: Volume[] = []
  for (const name of ['accounts', 'letters', 'photos']) {
    const args = ['create', 'volume', '--set', `name=${name}`, '--set', 'size=0.002', '--wait', '--json']
    const { code, stdout, stderr } = await world.command(args)
    if (code !== 0) throw new NightStopped(`a volume can't be made: ${stderr}`)
    const { id } = JSON.parse(stdout) as ResourceRow
    const path = join(data, 'images/h9@file/volumes', `${id}.img`)
    writeFileSync(path, randomBytes(FILLED), { flag: 'r+' })
    volumes.push({ id, hash: hashOf(path) })
  }
  return volumes
}

async function rowOf(kind: string, id: string): Promise<ResourceRow | undefined> {
  const reply = await world.call('GET', `/resources/${kind}/${id}`)
  return reply?.status === 200 ? (reply.body as unknown as ResourceRow) : undefined
}

async function untilOver(kind: string, id: string): Promise<ResourceRow> {
  let row: ResourceRow | undefined
  await world.until(`${kind} ${id} comes to rest`, async () => {
    row = await rowOf(kind, id)
    return row?.operation === null
  })
  return row!
}

async function anyAt(list: Load['sites'], cluster: string): Promise<boolean> {
  for (const { id } of list) if ((await rowOf('site', id))?.cluster === cluster) return true
  return false
}

async function judged(load: Load, volumes: readonly Volume[]): Promise<void> {
  check('no operation failed that need not', load.faults.length === 0, load.faults.slice(0, 5).join('; '))
  const lost: string[] = []
  for (const { id, revision, removed } of load.sites) {
    const row = await rowOf('site', id)
    const place = join(sites, `${id}.json`)
    if (removed) {
      if (existsSync(place)) lost.push(`${id} was removed, and its file is there`)
    } else if (row?.operation !== null) lost.push(`${id} is not at rest`)
    else if (row.data.revision !== revision)
      lost.push(`${id} has revision ${row.data.revision}, not ${revision}`)
    else if (!existsSync(place)) lost.push(`the file of ${id} is gone`)
    else if (JSON.parse(readFileSync(place, 'utf8')).revision !== revision)
      lost.push(`the file of ${id} is old`)
  }
  const known = new Set([...load.sites.map(({ id }) => id), ...probes].map((id) => `${id}.json`))
  const strange = readdirSync(sites).filter((name) => name.endsWith('.json') && !known.has(name))
  check('nothing is lost', lost.length === 0, lost.slice(0, 5).join('; ') || `${load.sites.length} sites`)
  check('nothing is there that nobody made', strange.length === 0, strange.join(', '))
  const home = [join(data, 'images/vault@file/volumes'), join(data, 'images/h9@file/volumes')].find(
    existsSync,
  )!
  const same = volumes.filter(({ id, hash }) => hashOf(join(home, `${id}.img`)) === hash)
  check('every byte of the volumes is as it was', same.length === volumes.length, `${same.length} volumes`)
  check('nothing is stuck', (await world.stuck()).length === 0)
  check('serve ended well', (await world.end()) === 0)
  say(`   ${load.done} operations ended well; ${load.repeated} times a client had to ask again.`)
}

function indented(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `     ${line}`)
    .join('\n')
}

/** A small disk of its own, so that it can be full; false where that is not allowed. */
function mount(at: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'tmpfs', at], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

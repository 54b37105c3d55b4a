// demo: the whole promise as a story on real files. A node dies with four operations in its hands; the others
// notice, put right what it left, each by the policy of its table, and every byte is compared at the end.

import { createHash, randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdtemp, open, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { jsonStore, type StoredRow } from '../../store/index.ts'
import { scan } from '../drivers/file.ts'
import {
  type Answer,
  backup,
  createRuntime,
  type Ref,
  type ResourceRow,
  realEnvironment,
  type SettledOf,
  snapshot,
  volume,
} from '../index.ts'
import { DemoStopped, halfMade, MIB, Watched, watchable } from './demo_world.ts'
import { EXIT, usage } from './exit.ts'
import { plain, print, printJson, tableOf } from './output.ts'

export interface DemoOptions {
  readonly data?: string
  readonly json?: true
}

const NODES = ['h1', 'h2', 'h3'] as const
const NAMES = ['accounts', 'orders', 'photos', 'letters', 'music', 'old logs'] as const
type Name = (typeof NAMES)[number]
const SIZE_MIB = 8
const gib = (mib: number) => mib / 1024

const SETTINGS = {
  heartbeat_ms: 200,
  fence_after_ms: 500,
  down_after_ms: 1_000,
  sweep_ms: 100,
  progress_ms: 200,
  abort_grace_ms: 300,
} as const

interface Check {
  readonly check: string
  readonly held: boolean
  readonly found: string
}

/** Resolves with the exit code: done only if every check held. */
export async function demo({ data, json }: DemoOptions): Promise<number> {
  const environment = realEnvironment()
  const began = environment.monotonic()
  const folder =
    data === undefined ? await mkdtemp(join(tmpdir(), 'rekindle-demo-')) : await emptyFolder(data)
  const remove = () => {
    if (data === undefined) rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', remove)
  process.once('SIGINT', () => process.exit(EXIT.interrupted))
  const checks: Check[] = []
  const say = json ? () => {} : print
  let step = 0
  const tell: Tell = {
    heading: (text) => say(`\n${++step}. ${text}`),
    say: (text) => say(wrapped(text)),
    table: (heads, rows) => say(indented(tableOf(heads, rows))),
    check(check, held, found = '') {
      checks.push({ check, held, found })
    },
  }
  let rows: readonly ResourceRow[] = []
  try {
    rows = await story(folder, tell, environment)
  } catch (error) {
    if (!(error instanceof DemoStopped)) throw error
    tell.check('the story came to its end', false, error.message)
  }
  const seconds = Math.round((environment.monotonic() - began) / 100) / 10
  const ok = checks.every(({ held }) => held)
  if (json) printJson({ ok, seconds, checks, rows })
  else {
    say('\nWhat was checked')
    for (const { check, held, found } of checks)
      say(`  ${held ? 'yes' : 'NO '}  ${check}${found === '' ? '' : ` (${plain(found)})`}`)
    say(
      `\n${ok ? `All ${checks.length} checks held` : 'A check did not hold'}, in ${seconds} seconds.${
        data === undefined ? '' : ` The files are in ${resolve(data)}.`
      }`,
    )
  }
  return ok ? EXIT.done : EXIT.failed
}

interface Tell {
  heading(text: string): void
  say(text: string): void
  table(heads: readonly string[], rows: readonly (readonly string[])[]): void
  check(check: string, held: boolean, found?: string): void
}

async function story(folder: string, tell: Tell, environment: ReturnType<typeof realEnvironment>) {
  const images = join(folder, 'images')
  const pace = { piece_ms: 60, isHeld: false }
  const driver = watchable(images, pace, environment)

  tell.heading('Three nodes form a cluster')
  const runtime = await createRuntime({
    store: jsonStore(join(folder, 'store')),
    resources: [volume, snapshot, backup],
    nodes: NODES.map((host) => ({ cluster: 'demo', backend: 'file', host, driver })),
    settings: SETTINGS,
    environment,
  })
  try {
    const watched = new Watched(runtime, environment)
    const stateOf = (host: string) => runtime.nodes().find((node) => node.host === host)
    const isUp = (host: string) => stateOf(host)?.state === 'up' && stateOf(host)?.here?.state === 'up'
    const row = async ({ kind, id }: Ref) => (await runtime.get(kind, id))!
    tell.say(
      `h1, h2 and h3 work for the cluster 'demo'. They share one folder of disk images. Each says "I am alive" every ${SETTINGS.heartbeat_ms} ms; one that is silent for ${SETTINGS.down_after_ms} ms is held to be down.`,
    )

    tell.heading('Six volumes are made, and filled with data')
    const volumes = new Map<Name, ResourceRow>()
    const making = NAMES.map(async (name) => {
      const made = accepted(await runtime.volume.create({ name, size: gib(SIZE_MIB) }))
      volumes.set(name, succeeded(await made.settled()))
    })
    await Promise.all(making)
    const before = new Map<Name, string>()
    for (const name of NAMES) {
      const path = imageOf(images, volumes.get(name)!)
      await fill(path)
      before.set(name, await hashOf(path))
    }
    tell.table(
      ['VOLUME', 'MADE BY', 'SIZE', 'SHA-256 OF ITS DATA'],
      NAMES.map((name) => [
        name,
        volumes.get(name)!.host ?? '',
        `${SIZE_MIB} MiB`,
        `${before.get(name)!.slice(0, 16)}…`,
      ]),
    )

    tell.heading('Four operations begin, all of them on h1')
    tell.say('h2 and h3 are switched off for a moment, so h1 has to take everything.')
    for (const host of ['h2', 'h3']) runtime.node(host).kill()
    await watched.until('h2 and h3 end', () => stateOf('h2')?.here === null && stateOf('h3')?.here === null)
    pace.isHeld = true
    const of = (name: Name) => volumes.get(name)!.id
    const snapshotted = accepted(
      await runtime.snapshot.create({ name: 'accounts, Monday', volume_id: of('accounts') }),
    )
    const extended = accepted(await runtime.volume(of('orders')).extend({ size: gib(2 * SIZE_MIB) }))
    const backedUp = accepted(
      await runtime.backup.create({ name: 'photos, Monday', volume_id: of('photos') }),
    )
    const deleted = accepted(await runtime.volume(of('old logs')).delete())
    const four = [
      {
        ref: snapshotted.row,
        what: "snapshot of 'accounts'",
        policy: snapshot.table.operations.create.cleanup,
      },
      { ref: extended.row, what: "extend of 'orders'", policy: volume.table.operations.extend.cleanup },
      { ref: backedUp.row, what: "backup of 'photos'", policy: backup.table.operations.create.cleanup },
      { ref: deleted.row, what: "delete of 'old logs'", policy: volume.table.operations.delete.cleanup },
    ].map(({ ref: { kind, id }, ...rest }) => ({ ref: { kind, id }, ...rest }))
    await watched.until('h1 works on all four', () => stateOf('h1')?.here?.working_on.length === 4)
    for (const host of ['h2', 'h3']) runtime.node(host).start()
    await watched.until('h2 and h3 are back', () => isUp('h2') && isUp('h3'))
    await watched.until('all four are half-way', () =>
      four.every(({ ref }) => watched.progressOf(ref) >= 0.5),
    )
    tell.say('h2 and h3 are back, with nothing to do. h1 is half-way through:')
    const claimed = await Promise.all(four.map(({ ref }) => row(ref)))
    tell.table(
      ['OPERATION', 'WORKER', 'STATUS', 'FENCE', 'PROGRESS'],
      four.map(({ ref, what }, i) => [
        what,
        claimed[i]!.worker ?? '',
        claimed[i]!.status,
        String(claimed[i]!.fence),
        `${Math.floor(watched.progressOf(ref) * 100)} %`,
      ]),
    )
    tell.check(
      'h1 had all four operations in its hands when it was killed',
      claimed.every(({ worker, incarnation }) => worker === 'h1@file' && incarnation !== null),
    )

    tell.heading('h1 is killed')
    const killedLife = stateOf('h1')!.incarnation
    runtime.node('h1').kill()
    pace.isHeld = false
    const killed = environment.monotonic()
    const isDownOfH1 = ({ kind, host, state, incarnation }: StoredRow) =>
      kind === 'service' && host === 'h1' && state === 'down' && incarnation === killedLife
    const torn = await halfMade(images)
    const bytes = torn.reduce((sum, { bytes: each }) => sum + each, 0)
    tell.say(
      `Its actor and its work end in mid-air; it cleans up nothing. ${torn.length} half-made copies with ${(bytes / MIB).toFixed(1)} MiB lie on the disk. Four rows still say that h1 works on them.`,
    )

    tell.heading('The others notice')
    const down = await watched.until('h1 is declared down', () => stateOf('h1')?.state === 'down')
    tell.say(
      `${((down - killed) / 1000).toFixed(1)} seconds later a scheduler declares h1 down: its heartbeat stood still. From here on h1 can finish nothing any more, even if it were only asleep.`,
    )
    tell.check(
      'h1 was declared down in under 5 seconds',
      down - killed < 5_000,
      `${Math.round(down - killed)} ms`,
    )

    tell.heading('What h1 left is put right, once, each by the policy in its table')
    await watched.until('all of it is put right', async () => {
      const rows = await Promise.all(four.map(({ ref }) => row(ref)))
      return rows.every(({ operation }) => operation === null) && stateOf('h1')!.cleanup_done
    })
    const stories = await Promise.all(
      four.map(async ({ ref, what, policy }, i) => {
        const after = watched.rowsOf(ref, isDownOfH1)
        const taken = after.find(({ incarnation, worker }) => incarnation !== null && worker !== 'h1@file')
        const end = await row(ref)
        return {
          what,
          policy: String(policy),
          by: taken?.worker ?? 'a scheduler',
          after,
          from: claimed[i]!,
          end,
        }
      }),
    )
    tell.table(
      ['OPERATION', 'POLICY', 'PUT RIGHT BY', 'FENCE', 'STATUS'],
      stories.map(({ what, policy, by, from, end }) => [
        what,
        policy,
        by,
        `${from.fence} → ${end.fence}`,
        `${from.status} → ${end.status}`,
      ]),
    )
    const photos = await row(volumes.get('photos')!)
    const held = watched.rowsOf(photos).findLast(({ status }) => status !== photos.status)
    tell.say(
      `'requeue' means: the whole operation again, by any node. The delete went back to the queue and ${stories[3]!.by} finished it. 'error' and 'error_extending' tell a person to decide. The volume 'photos', which the backup held, was restored: ${held?.status} → ${photos.status}.`,
    )
    const [snapshotStory, extendStory, backupStory, deleteStory] = stories as unknown as readonly [
      Told,
      Told,
      Told,
      Told,
    ]
    tell.check(
      'the interrupted snapshot is in error',
      snapshotStory.end.status === 'error',
      snapshotStory.end.status,
    )
    tell.check(
      'the interrupted extend is told as such',
      extendStory.end.status === 'error_extending',
      extendStory.end.status,
    )
    tell.check(
      'the interrupted backup is in error',
      backupStory.end.status === 'error',
      backupStory.end.status,
    )
    tell.check(
      "'photos', which the backup held, is available again",
      photos.status === 'available',
      photos.status,
    )
    tell.check(
      'the delete was requeued and finished by another node',
      deleteStory.end.status === 'gone' && ['h2@file', 'h3@file'].includes(deleteStory.by),
      `${deleteStory.end.status} by ${deleteStory.by}`,
    )
    tell.check(
      'every claim and cleanup has a fence of its own, higher than the one before',
      stories.every(
        ({ from, after }) =>
          after.every((next, i) => next.fence >= (after[i - 1] ?? from).fence) &&
          (after.at(-1)?.fence ?? 0) > from.fence,
      ),
    )
    tell.check(
      'after h1 was declared down nothing of it was finished: each operation first went to the others',
      four.every(({ ref }) => {
        const [first, ...more] = watched.rowsOf(ref, isDownOfH1)
        const isHandedOn = first?.operation != null && first.incarnation === null
        return (
          isHandedOn && more.every(({ worker, incarnation }) => incarnation === null || worker !== 'h1@file')
        )
      }),
    )

    tell.heading('An administrator does again what failed; h1 comes back')
    pace.piece_ms = 0
    runtime.node('h1').start()
    const done = async <R>(answer: Answer<R>) => succeeded<R>(await accepted(answer).settled())
    await Promise.all([
      done(await runtime.snapshot(snapshotted.id).delete()),
      done(await runtime.backup(backedUp.id).delete()),
    ])
    await done(await runtime.volume(of('orders')).reset_status({ status: 'available' }))
    const [newSnapshot, , newBackup] = await Promise.all([
      done(await runtime.snapshot.create({ name: 'accounts, again', volume_id: of('accounts') })),
      done(await runtime.volume(of('orders')).extend({ size: gib(2 * SIZE_MIB) })),
      done(await runtime.backup.create({ name: 'photos, again', volume_id: of('photos') })),
    ])
    const copy = await done(await runtime.volume.create({ name: 'photos, restored', size: gib(SIZE_MIB) }))
    await done(await runtime.backup(newBackup.id).restore({ volume_id: copy.id }))
    await watched.until('h1 is up again', () => isUp('h1'))
    tell.say(
      `A new snapshot of 'accounts', the extend of 'orders' and a new backup of 'photos' are done; the backup is written into a fresh volume. h1 is up in life ${stateOf('h1')!.incarnation}; the life that was killed was ${killedLife}.`,
    )

    tell.heading('Every byte is compared')
    const kept = NAMES.filter((name) => name !== 'old logs')
    const compared = await Promise.all([
      ...kept.map(async (name) => ({
        what: name === 'orders' ? "volume 'orders', its first 8 MiB" : `volume '${name}'`,
        expected: before.get(name)!,
        found: await hashOf(imageOf(images, volumes.get(name)!), SIZE_MIB * MIB),
      })),
      {
        what: "new snapshot of 'accounts'",
        expected: before.get('accounts')!,
        found: await hashOf(imageOf(images, newSnapshot)),
      },
      {
        what: "backup of 'photos', restored",
        expected: before.get('photos')!,
        found: await hashOf(imageOf(images, copy)),
      },
    ])
    tell.table(
      ['DATA', 'BEFORE', 'NOW', ''],
      compared.map(({ what, expected, found }) => [
        what,
        `${expected.slice(0, 16)}…`,
        `${found.slice(0, 16)}…`,
        expected === found ? 'same' : 'DIFFERENT',
      ]),
    )
    for (const { what, expected, found } of compared)
      tell.check(`${what}: every byte is what it was`, expected === found)

    tell.heading('What is there in the end')
    const rows = (await Promise.all(runtime.kinds.map(({ kind }) => runtime.list(kind)))).flatMap(
      (list) => list.rows,
    )
    tell.table(
      ['KIND', 'NAME', 'STATUS', 'LAST HOST', 'SIZE'],
      rows.map((each) => [
        each.kind,
        String(each.data.name),
        each.status,
        each.host ?? '',
        sizeInWords(each.data),
      ]),
    )
    const files = await scan(images)
    const there = rows.filter(({ status }) => status !== 'gone').map(({ kind, id }) => `${kind} ${id}`)
    const onDisk = Object.entries(files).flatMap(([kind, ids]) => ids.map((id) => `${kind} ${id}`))
    tell.check(
      'files and rows agree: nothing is missing, nothing is left over',
      sameSet(there, onDisk),
      `${onDisk.length} on disk, ${there.length} in rows`,
    )
    const left = await halfMade(images)
    tell.check('no half-made copy is left', left.length === 0, left.map(({ name }) => name).join(', '))
    tell.check(
      'everything is at rest',
      rows.every(
        ({ operation, worker, held_by }) => operation === null && worker === null && held_by === null,
      ),
    )
    tell.check('nothing is stuck', (await runtime.stuck()).length === 0)
    return rows
  } finally {
    await runtime.stop({ within_ms: 2_000 })
  }
}

interface Told {
  readonly by: string
  readonly from: ResourceRow
  readonly after: readonly ResourceRow[]
  readonly end: ResourceRow
}

function accepted<R>(answer: Answer<R>) {
  if (!answer.ok) throw new DemoStopped(answer.message)
  return answer
}

function succeeded<R>(end: SettledOf<R>): R {
  if (!end.ok) throw new DemoStopped(`an operation failed: ${end.error.message}`)
  return end.row
}

/** Where the file driver keeps it. */
function imageOf(images: string, { kind, id }: Ref): string {
  return join(images, kind === 'volume' ? 'volumes' : 'snapshots', `${id}.img`)
}

/** What the owner of a volume does with it: writes into it. */
async function fill(path: string): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    // Text, so that compressing it is worth it.
    const data = Buffer.from(randomBytes((SIZE_MIB * MIB) / 2).toString('hex'))
    await handle.write(data, 0, data.length, 0)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** The SHA-256 of a file, or of its first bytes. */
async function hashOf(path: string, bytes = Number.POSITIVE_INFINITY): Promise<string> {
  const handle = await open(path, 'r')
  const hash = createHash('sha256')
  try {
    const buffer = Buffer.alloc(MIB)
    for (let position = 0; position < bytes; ) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, bytes - position), position)
      if (bytesRead === 0) break
      hash.update(buffer.subarray(0, bytesRead))
      position += bytesRead
    }
  } finally {
    await handle.close()
  }
  return hash.digest('hex')
}

async function emptyFolder(folder: string): Promise<string> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw usage(`--data ${folder} can't be used: ${error.message}`)
  })
  if (names.length > 0) throw usage(`--data ${folder} is not empty; the demo begins with an empty folder`)
  return folder
}

function sizeInWords({ size, stored_bytes }: { readonly [name: string]: unknown }): string {
  if (typeof size !== 'number') return ''
  const stored = typeof stored_bytes === 'number' ? `, ${(stored_bytes / MIB).toFixed(1)} MiB stored` : ''
  return `${Math.round(size * 1024)} MiB${stored}`
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && new Set([...a, ...b]).size === a.length
}

function wrapped(text: string, width = 92): string {
  const lines = ['']
  for (const word of text.split(' ')) {
    if (lines.at(-1)!.length + word.length + 1 > width) lines.push('')
    lines[lines.length - 1] += lines.at(-1) === '' ? word : ` ${word}`
  }
  return indented(lines.join('\n'))
}

function indented(text: string): string {
  return text.replace(/^/gm, '   ')
}

// What the tests of the file driver share: rows and folders, what is at a backend, and one operation crashed,
// stalled and aborted at every place. It declares no tests.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { JsonObject, ResourceRow } from '../../machines/row.ts'
import type { Driver, DriverContext } from '../../runtime/driver.ts'
import { KINDS } from '../../runtime/drivers/file/backend.ts'
import { checksum, type FileDriverOptions, fileDriver, scan, strayFiles } from '../../runtime/drivers/file.ts'
import { contextOf, rowOf, setupOf } from '../kit/driver_contract.ts'
import { Crash, crashingDisk, stallingDisk } from './watched_disk.ts'

/** GiB: 64 KiB, in four pieces, so that there are places between them. */
export const SIZE = 2 ** -14
export const KIB = 1024
export const PIECES = { piece_bytes: 16 * KIB }

export const volume = { kind: 'volume', id: 'v1' }
export const target = { kind: 'volume', id: 'v2' }
export const snapshot = { kind: 'snapshot', id: 's1' }
export const backup = { kind: 'backup', id: 'b1' }
export const volumeData = { name: 'data', size: SIZE }
export const snapshotData = { name: 'before', volume_id: 'v1', size: SIZE }
export const backupData = { name: 'nightly', volume_id: 'v1', size: SIZE }

/** What takes part in an operation on a snapshot or backup of the volume. */
export const related = { volume: rowOf(volume, volumeData, { fence: 1 }) }

const folders: string[] = []

/** For after each test. */
export async function removeFolders(): Promise<void> {
  await Promise.all(folders.splice(0).map((folder) => fs.rm(folder, { recursive: true, force: true })))
}

/** Where the crash or stall is made by the test, nothing hangs on what a disk does with a sync. */
export const IN_MEMORY = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

export async function emptyFolder(parent = tmpdir()): Promise<string> {
  const folder = await fs.mkdtemp(join(parent, 'rekindle-file-'))
  folders.push(folder)
  return folder
}

export async function started(folder: string, options: FileDriverOptions = {}): Promise<Driver> {
  const driver = fileDriver(folder, { ...PIECES, ...options })
  await driver.setup!(setupOf())
  return driver
}

/** Every resource at the backend with its checksum, and what should not be there. */
export async function look(folder: string) {
  const present = await scan(folder)
  const refs = KINDS.flatMap((kind) => present[kind].map((id) => ({ kind, id })))
  const sums = refs.map(async ({ kind, id }) => [`${kind} ${id}`, await checksum(folder, kind, id)])
  const { strays, missing } = await strayFiles(folder)
  return {
    present: Object.fromEntries(await Promise.all(sums)) as { [name: string]: string },
    left: await leftIn(folder),
    strays,
    missing,
  }
}

/** What work was left behind: nothing ever should be. */
export async function leftIn(folder: string): Promise<string[]> {
  return [...(await fs.readdir(join(folder, 'work'))), ...(await fs.readdir(join(folder, 'trash')))]
}

export function run(
  driver: Driver,
  operation: string,
  row: ResourceRow,
  given: Partial<DriverContext> = {},
): Promise<JsonObject | void> {
  return driver.operations[row.kind]![operation]!(contextOf(row, operation, given))
}

/** The code that it is rejected with, or that it was done. */
export function endOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error) => error.code,
  )
}

export function imageOf(folder: string, id = 'v1'): string {
  return join(folder, 'volumes', `${id}.img`)
}

/** What a guest would have written: a few bytes far apart, some across the edge of a block or a piece. */
export async function scatter(folder: string, id: string, offsets: readonly number[]): Promise<void> {
  const handle = await fs.open(imageOf(folder, id), 'r+')
  for (const offset of offsets) await handle.write(`written at ${offset}`, offset)
  await handle.close()
}

export const OFFSETS = [0, 4090, 16 * KIB - 5, 64 * KIB - 20]

export async function withVolume(folder: string): Promise<void> {
  const driver = await started(folder)
  await run(driver, 'create', rowOf(volume, volumeData, { fence: 1 }))
  await scatter(folder, 'v1', OFFSETS)
}

export async function withSnapshot(folder: string): Promise<void> {
  await withVolume(folder)
  await run(await started(folder), 'create', rowOf(snapshot, snapshotData, { fence: 1 }), { related })
}

export async function withBackup(folder: string): Promise<void> {
  await withVolume(folder)
  const driver = await started(folder)
  await run(driver, 'create', rowOf(backup, backupData, { fence: 1 }), { related })
  await run(driver, 'create', rowOf(target, { name: 'copy', size: 2 * SIZE }, { fence: 1 }))
  await scatter(folder, 'v2', [1000])
}

/** One operation over a backend prepared for it, to be crashed, stalled and aborted. */
export interface Scene {
  readonly title: string
  readonly operation: string
  readonly row: ResourceRow
  readonly given?: Partial<DriverContext>
  /** What of `given` has to be made for each run. */
  readonly opened?: () => Promise<Partial<DriverContext>>
  prepare(folder: string): Promise<void>
  /** The operation is not one step at the backend: what may also be seen of it, half-way. */
  readonly between?: readonly (readonly string[])[]
  /** Its undo leaves what was before; without, it leaves what it finds. */
  readonly takes_back?: true
}

export function claimedAgain(row: ResourceRow): ResourceRow {
  return { ...row, fence: row.fence + 1 }
}

/** A copy of a prepared backend, cheaper than preparing it again. Its driver needs no set-up. */
export async function copied(folder: string): Promise<string> {
  const copy = await emptyFolder(IN_MEMORY)
  for (const entry of await fs.readdir(folder, { recursive: true, withFileTypes: true })) {
    const from = join(entry.parentPath, entry.name)
    const to = join(copy, relative(folder, from))
    await (entry.isDirectory() ? fs.mkdir(to) : fs.copyFile(from, to))
  }
  return copy
}

/** Tries 0, 1, 2, ..., some at a time, until one tells that it is past the end. Tells how many were not. */
export async function upToTheEnd(attempt: (n: number) => Promise<'past the end' | void>): Promise<number> {
  for (let n = 0; ; n += 4) {
    const ends = await Promise.all([n, n + 1, n + 2, n + 3].map(attempt))
    const past = ends.indexOf('past the end')
    if (past >= 0) return n + past
  }
}

async function stageOf({ operation, row, given, opened, prepare, between = [] }: Scene) {
  const base = await emptyFolder(IN_MEMORY)
  await prepare(base)
  const before = await look(base)
  const play = async (driver: Driver, claimed = row, more: Partial<DriverContext> = {}) =>
    run(driver, operation, claimed, { ...given, ...(await opened?.()), ...more })
  const sample = await copied(base)
  const result = await play(fileDriver(sample, PIECES))
  const after = await look(sample)
  const isStep = (present: { [name: string]: string }) => {
    const names = Object.keys(present)
    if (between.some((seen) => seen.join() === names.join())) return
    const same = (other: { [name: string]: string }) => JSON.stringify(other) === JSON.stringify(present)
    assert.ok(same(before.present) || same(after.present), `half-way there is ${JSON.stringify(present)}`)
  }
  return { base, before, after, result, play, isStep }
}

/** Crashes before each effect: then it is undone in one copy and run again in another. Tells how many crashes. */
export async function crashEverywhere(scene: Scene): Promise<number> {
  const { operation, row, given, takes_back } = scene
  const { base, before, after, result, play, isStep } = await stageOf(scene)
  return upToTheEnd(async (n) => {
    const folder = await copied(base)
    const { disk, crashed } = crashingDisk(n)
    const settled = await play(fileDriver(folder, { ...PIECES, disk })).then(
      () => 'done',
      (error) => error,
    )
    if (!crashed()) return 'past the end'
    // Once all that counts is done, a failing removal of the own work folder is not told.
    if (settled !== 'done') assert.ok(settled instanceof Crash, String(settled))
    const halfway = await look(folder)
    isStep(halfway.present)
    if (settled === 'done') assert.deepEqual(halfway.present, after.present)

    const undone = await copied(folder)
    await fileDriver(undone).undo!(contextOf(claimedAgain(row), operation, given))
    assert.deepEqual(await look(undone), takes_back ? before : { ...halfway, left: [] })

    const again = n % 2 === 0 ? claimedAgain(row) : row
    assert.deepEqual(await play(fileDriver(folder, PIECES), again), result)
    assert.deepEqual(await look(folder), after)
  })
}

/** Stalls before each effect while a newer fence is raised. Tells how many calls were refused for it. */
export async function stallEverywhere(scene: Scene): Promise<number> {
  const { row, title } = scene
  const { base, before, after, play, isStep } = await stageOf(scene)
  let refused = 0
  await upToTheEnd(async (n) => {
    const folder = await copied(base)
    const { disk, stalled, release } = stallingDisk(n)
    const settled = endOf(play(fileDriver(folder, { ...PIECES, disk })))
    if ((await Promise.race([stalled, settled])) !== 'stalled') return 'past the end'
    await fileDriver(folder).fence!(row, row.fence + 1)
    const fenced = await look(folder)
    isStep(fenced.present)
    release()
    const code = await settled
    const woken = await look(folder)
    assert.deepEqual(woken.left, [])
    // Growing is the one effect that is not a rename: a gap of two calls, and it loses nothing.
    if (title !== 'volume extend') assert.deepEqual(woken.present, fenced.present)
    else
      assert.ok(
        [before, after].some(({ present }) => JSON.stringify(present) === JSON.stringify(woken.present)),
      )
    assert.ok(['fenced', 'done'].includes(code), code)
    if (code === 'fenced') refused++
    else assert.deepEqual(woken.present, after.present)
  })
  return refused
}

/** Aborts at each look at the signal that tells progress. Tells how many aborts there were. */
export async function abortEverywhere(scene: Scene): Promise<number> {
  const { base, before, play } = await stageOf(scene)
  const driver = await started(base)
  for (let n = 0; ; n++) {
    const control = new AbortController()
    const reason = new Error(`aborted at piece ${n}`)
    let steps = 0
    const progress = () => {
      if (steps++ === n) control.abort(reason)
    }
    const claimed = { ...scene.row, fence: scene.row.fence + n }
    const settled = await play(driver, claimed, { signal: control.signal, progress }).then(
      () => null,
      (error) => error,
    )
    if (!control.signal.aborted) return n
    assert.equal(settled, reason)
    assert.deepEqual(await look(base), before)
  }
}

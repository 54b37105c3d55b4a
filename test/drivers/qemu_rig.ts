// What the tests of the qemu driver share: a folder at rest with data that a guest wrote, and a look at all
// of it. Guests are played by qemu-io, which opens images as a virtual machine does.

import { execFile, execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Ref, ResourceRow } from '../../machines/row.ts'
import type { Driver, DriverContext } from '../../runtime/driver.ts'
import { KINDS, type Kind, placeOf } from '../../runtime/drivers/file/backend.ts'
import { scan, strayFiles } from '../../runtime/drivers/file.ts'
import { chainOf } from '../../runtime/drivers/qemu/chain.ts'
import { contentChecksum, type QemuDriverOptions, qemuDriver } from '../../runtime/drivers/qemu.ts'
import { contextOf, rowOf, setupOf } from '../kit/driver_contract.ts'

const exec = promisify(execFile)

/** Why nothing can be tried here; null where all can. */
export const missing: string | null = whatIsMissing()
// Also where a reporter does not list what was skipped.
if (missing !== null) console.warn(`The tests of the qemu driver are left out: ${missing}`)

function whatIsMissing(): string | null {
  for (const program of ['qemu-img', 'qemu-io'])
    try {
      execFileSync(program, ['--version'], { stdio: 'ignore' })
    } catch {
      return `${program} is not here; apt-get install qemu-utils`
    }
  return null
}

export const KIB = 1024
export const MIB = 2 ** 20
/** GiB: 1 MiB, 16 clusters. */
export const SIZE = 2 ** -10
export const PIECES = { piece_bytes: 256 * KIB }

export const volume = { kind: 'volume', id: 'v1' }
export const target = { kind: 'volume', id: 'v2' }
export const older = { kind: 'snapshot', id: 's1' }
export const newer = { kind: 'snapshot', id: 's2' }
export const backup = { kind: 'backup', id: 'b1' }

export const rows = {
  volume: (fence = 1, size = SIZE) => rowOf(volume, { name: 'data', size }, { fence }),
  target: (fence = 1, size = 2 * SIZE) => rowOf(target, { name: 'copy', size }, { fence }),
  snapshot: (ref: Ref = older, fence = 1) =>
    rowOf(ref, { name: 'before', volume_id: 'v1', size: SIZE }, { fence }),
  backup: (fence = 1) => rowOf(backup, { name: 'nightly', volume_id: 'v1', size: SIZE }, { fence }),
}

/** What takes part, as a driver is given it. */
export function taking(...taken: readonly ResourceRow[]): Partial<DriverContext> {
  return { related: Object.fromEntries(taken.map((row) => [row.kind, row])), relatedRows: taken }
}

const folders: string[] = []
/** Where the crash or stall is made by the test, nothing hangs on what a disk does with a sync. */
const IN_MEMORY = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

export async function emptyFolder(parent = IN_MEMORY): Promise<string> {
  const folder = await fs.mkdtemp(join(parent, 'rekindle-qemu-'))
  folders.push(folder)
  return folder
}

export async function removeFolders(): Promise<void> {
  await Promise.all(folders.splice(0).map((folder) => fs.rm(folder, { recursive: true, force: true })))
}

/** A copy of a prepared backend, cheaper than preparing it again. Its driver needs no set-up. */
export async function copied(folder: string): Promise<string> {
  const copy = await emptyFolder()
  await fs.cp(folder, copy, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true })
  return copy
}

export async function started(folder: string, options: QemuDriverOptions = {}): Promise<Driver> {
  const driver = qemuDriver(folder, { ...PIECES, ...options })
  await driver.setup!(setupOf())
  return driver
}

export function run(driver: Driver, operation: string, row: ResourceRow, given: Partial<DriverContext> = {}) {
  return driver.operations[row.kind]![operation]!(contextOf(row, operation, given))
}

export function imageOf(folder: string, { kind, id }: Ref = volume): string {
  return join(folder, `${kind}s`, `${id}.img`)
}

/** Writes `letter` over `length` bytes, as a guest would. */
export async function write(folder: string, ref: Ref, letter: string, at: number, length = 4 * KIB) {
  const pattern = letter.charCodeAt(0)
  const command = `write -P ${pattern} ${at} ${length}`
  await exec('qemu-io', ['-f', 'qcow2', '-c', command, imageOf(folder, ref)])
}

/** The content as a guest reads it. */
export async function read(folder: string, ref: Ref): Promise<Buffer> {
  const raw = join(await emptyFolder(), 'raw')
  await exec('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', imageOf(folder, ref), raw])
  return fs.readFile(raw)
}

export async function qemuImg(...args: readonly string[]): Promise<string> {
  return (await exec('qemu-img', [...args])).stdout
}

/** Every resource with the checksum of its content, and what work was left behind. Each image is checked. */
export async function look(folder: string) {
  return { present: await contentsOf(folder), left: await leftIn(folder) }
}

/** Contents found before, by how the files of a chain look: most images of a copy are as they were. */
const known = new Map<string, string>()

async function contentsOf(folder: string): Promise<Record<string, string>> {
  const present = await scan(folder)
  const refs = KINDS.flatMap((kind) => present[kind].map((id): Ref & { kind: Kind } => ({ kind, id })))
  const sums = refs.map(async (ref) => {
    const state = await stateOf(folder, ref)
    const sum = known.get(state) ?? (await soundContent(folder, ref))
    known.set(state, sum)
    return [`${ref.kind} ${ref.id}`, sum] as const
  })
  return Object.fromEntries(await Promise.all(sums))
}

async function stateOf(folder: string, ref: Ref & { kind: Kind }): Promise<string> {
  const backend = { folder, disk: fs, piece_bytes: 0 }
  const place = placeOf(folder, ref)
  const files = ref.kind === 'backup' ? [join(place, 'manifest.json')] : await chainOf(backend, place)
  const states = files.map(async (path) => {
    const { size, mtimeNs } = await fs.stat(path, { bigint: true })
    return `${path.slice(folder.length)} ${size} ${mtimeNs}`
  })
  return (await Promise.all(states)).join('\n')
}

async function soundContent(folder: string, ref: Ref & { kind: Kind }): Promise<string> {
  if (ref.kind !== 'backup') await qemuImg('check', '-q', '-f', 'qcow2', imageOf(folder, ref))
  return contentChecksum(folder, ref.kind, ref.id)
}

/** What belongs to no resource. */
export async function leftIn(folder: string): Promise<string[]> {
  const { unfinished, strays, missing } = await strayFiles(folder)
  return [...unfinished, ...strays, ...missing]
}

/** A volume with data in the first, a middle and the last cluster. */
export async function withVolume(folder: string): Promise<Driver> {
  const driver = await started(folder)
  await run(driver, 'create', rows.volume())
  await write(folder, volume, 'a', 0)
  await write(folder, volume, 'b', 500 * KIB, 40 * KIB)
  await write(folder, volume, 'c', MIB - 4 * KIB)
  return driver
}

/** Two snapshots in a chain, with other data between and after them. */
export async function withSnapshots(folder: string): Promise<Driver> {
  const driver = await withVolume(folder)
  await run(driver, 'create', rows.snapshot(older), taking(rows.volume()))
  await write(folder, volume, 'd', 0)
  await write(folder, volume, 'e', 200 * KIB)
  await run(driver, 'create', rows.snapshot(newer), taking(rows.volume()))
  await write(folder, volume, 'f', 500 * KIB)
  return driver
}

export async function withBackup(folder: string): Promise<Driver> {
  const driver = await withVolume(folder)
  await run(driver, 'create', rows.backup(), taking(rows.volume()))
  await run(driver, 'create', rows.target())
  await write(folder, target, 'x', 100 * KIB)
  return driver
}

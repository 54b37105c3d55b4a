// The checkpoint: every row as of some commit, in shards of a thousand rows or so in key order, and the
// manifest that names them. Files are human-readable JSON written through lowdb by an adapter that makes them
// durable. A file that a manifest names is never written again: a new checkpoint has new files, and is there
// when its manifest is. Only durable rows may be read here, and never many at a time.

import { join } from 'node:path'
import { type Adapter, Low } from 'lowdb'
import { StoreError } from '../error.ts'
import { freeze } from '../plan.ts'
import { type Key, keyOf, type StoredRow } from '../store.ts'
import type { Table } from '../table.ts'
import { checksumOf } from './checksum.ts'
import { type FileSystem, replaceFile } from './file_system.ts'
import { segmentOf } from './journal.ts'

export const CHECKPOINT_VERSION = 1
export const MANIFEST = 'manifest.json'
/** Characters that are made at one go. */
const SLICE = 128 * 1_024

export interface Shard {
  readonly file: string
  /** The first key in it. It holds all keys up to the next shard's `from`; the first one those before, too. */
  readonly from: Key
  readonly rows: number
  readonly bytes: number
  readonly checksum: string
}

export interface Manifest {
  /** Counts the checkpoints, failed ones too, so that no two write the same file. */
  readonly number: number
  /** The shards hold at least all commits up to this one; those after it are in the journal. */
  readonly offset: number
  /** The first segment to replay. */
  readonly segment: number
  readonly shards: readonly Shard[]
}

export const NO_CHECKPOINT: Manifest = { number: 0, offset: 0, segment: 1, shards: [] }

const shardName = (checkpoint: number, index: number): string =>
  `shard-${String(checkpoint).padStart(6, '0')}-${String(index).padStart(5, '0')}.json`

/**
 * One JSON file with its checksum in the first line, over all that follows. A field that is a list has one
 * item a line. `write` replaces the file: a temporary file is written, synced and renamed, so that a crash
 * leaves the file of before or the new one whole. The name itself is durable after the folder's sync, which
 * is the caller's: one for many files.
 */
class DurableFile<T extends object> implements Adapter<T> {
  readonly #fileSystem: FileSystem
  readonly #folder: string
  readonly #name: string
  readonly #format: string
  checksum = ''
  bytes = 0

  constructor(fileSystem: FileSystem, folder: string, name: string, format: string) {
    this.#fileSystem = fileSystem
    this.#folder = folder
    this.#name = name
    this.#format = format
  }

  async read(): Promise<T | null> {
    const bytes = await this.#fileSystem.readFile(join(this.#folder, this.#name)).catch((cause) => {
      if (cause.code === 'ENOENT') throw this.#damaged('the file is missing', { cause })
      throw new StoreError('store_unusable', `can't read ${this.#name}: ${cause.message}`, { cause })
    })
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const body = buffer.indexOf('\n') + 1
    const written = /^\{ "checksum": "([0-9a-f]{8})",\n$/.exec(buffer.toString('latin1', 0, body))?.[1]
    if (written === undefined) throw this.#damaged('line 1, byte 0: no checksum is there')
    this.checksum = checksumOf(buffer.subarray(body))
    if (this.checksum !== written)
      throw this.#damaged(
        `the bytes from ${body} to ${buffer.length} have checksum ${this.checksum}, not ${written}`,
      )
    const { format, version, ...data } = JSON.parse(`{${buffer.toString('utf8', body)}`)
    if (version > CHECKPOINT_VERSION)
      throw new StoreError(
        'store_unusable',
        `${this.#name} has format version ${version}, this program reads up to ${CHECKPOINT_VERSION}; open it with a newer rekindle`,
      )
    if (format !== this.#format) throw this.#damaged(`it is a ${format}, not a ${this.#format}`)
    return data
  }

  async write(data: T): Promise<void> {
    const head = `{ "checksum": "00000000",\n`
    const parts = [`${head}"format": ${JSON.stringify(this.#format)}, "version": ${CHECKPOINT_VERSION}`]
    for (const [field, value] of Object.entries(data)) {
      if (!Array.isArray(value)) parts.push(`,\n"${field}": ${JSON.stringify(value)}`)
      else {
        parts.push(`,\n"${field}": [`)
        await this.#writeItems(value, parts)
        parts.push('\n]')
      }
    }
    parts.push('}\n')
    const bytes = Buffer.from(parts.join(''))
    this.checksum = checksumOf(bytes.subarray(head.length))
    this.bytes = bytes.length
    bytes.write(this.checksum, head.indexOf('0'), 'latin1')
    await replaceFile(this.#fileSystem, join(this.#folder, this.#name), bytes)
  }

  /** Lets the event loop turn between slices: rows are frozen, so nothing changes under the pen. */
  async #writeItems(items: readonly unknown[], parts: string[]): Promise<void> {
    let slice = 0
    for (const [index, item] of items.entries()) {
      const text = JSON.stringify(item)
      parts.push(index === 0 ? '\n' : ',\n', text)
      slice += text.length
      if (slice < SLICE) continue
      slice = 0
      await this.#fileSystem.yield()
    }
  }

  #damaged(what: string, options?: ErrorOptions): StoreError {
    return new StoreError(
      'store_damaged',
      `${this.#name}: ${what}. Nothing was overwritten; put the folder back from a copy.`,
      options,
    )
  }
}

export async function readManifest(fileSystem: FileSystem, folder: string): Promise<Manifest> {
  const low = new Low<Manifest>(
    new DurableFile(fileSystem, folder, MANIFEST, 'rekindle manifest'),
    NO_CHECKPOINT,
  )
  await low.read()
  return low.data
}

/** Fills the table with the rows of the checkpoint. */
export async function readShards(
  fileSystem: FileSystem,
  folder: string,
  manifest: Manifest,
  table: Table,
): Promise<void> {
  for (const shard of manifest.shards) {
    const file = new DurableFile<{ rows: StoredRow[] }>(fileSystem, folder, shard.file, 'rekindle shard')
    const low = new Low(file, { rows: [] })
    await low.read()
    if (file.checksum !== shard.checksum)
      throw new StoreError(
        'store_damaged',
        `${shard.file} has checksum ${file.checksum}, but ${MANIFEST} names it with ${shard.checksum}: it is of another checkpoint. Nothing was overwritten; put the folder back from a copy.`,
      )
    for (const row of low.data.rows) table.set(keyOf(row), freeze(row))
  }
}

export interface CheckpointWork {
  readonly fileSystem: FileSystem
  readonly folder: string
  readonly table: Table
  /** The checkpoint that is built upon. */
  readonly before: Manifest
  readonly number: number
  /** All keys that changed since the checkpoint of before. */
  readonly dirty: ReadonlySet<Key>
  readonly segment: number
  readonly offset: number
  /** Rows of a shard, about. */
  readonly shardRows: number
  /** Throws when the work is no longer wanted. */
  readonly goOn: () => void
}

/**
 * Writes the shards that have dirty keys, then publishes a manifest; resolves to it.
 *
 * Transactions go on meanwhile, so a shard may hold rows of commits after `offset`, and two shards may
 * disagree about one commit. That is sound. The journal from `segment` on has every commit after `offset`, in
 * order, with whole rows. A key that none of them touches is in its shard as of `offset`. A key that one of
 * them touches has, after the replay, the row of the last commit that did, whatever the shard said. And a
 * shard has no row of a commit that a crash can take back: the table holds durable rows only.
 */
export async function writeCheckpoint(work: CheckpointWork): Promise<Manifest> {
  const { fileSystem, folder } = work
  const written: Shard[] = []
  try {
    const shards = await writeShards(work, written)
    work.goOn()
    // The shards' names are durable before a manifest tells of them.
    await fileSystem.syncFolder(folder)
    work.goOn()
    const manifest: Manifest = { number: work.number, offset: work.offset, segment: work.segment, shards }
    const file = new DurableFile<Manifest>(fileSystem, folder, MANIFEST, 'rekindle manifest')
    await publish(new Low(file, manifest))
    return manifest
  } catch (cause) {
    // A full disk gets its room back. After a failure in `publish` nobody knows which manifest a crash will
    // leave, so its shards stay until the next checkpoint is there.
    if (!(cause instanceof PublishError))
      for (const { file } of written) await fileSystem.remove(join(folder, file)).catch(() => {})
    throw cause
  }

  async function publish(low: Low<Manifest>): Promise<void> {
    try {
      await low.write()
      await fileSystem.syncFolder(folder)
    } catch (cause) {
      throw new PublishError('the manifest may or may not be there', { cause })
    }
  }
}

class PublishError extends Error {}

async function writeShards(work: CheckpointWork, written: Shard[]): Promise<Shard[]> {
  const { before, table, shardRows, goOn } = work
  // Rows behind the end of now are in the journal to be replayed. Without this, rows that come in key order
  // could keep a checkpoint from ever reaching the end.
  const last = table.last()
  const end = last === undefined ? undefined : after(last)
  const dirty = await dirtyShards(work)
  const shards: Shard[] = []
  for (let index = 0; index < Math.max(before.shards.length, 1); ) {
    if (!dirty.has(index)) {
      const clean = before.shards[index++]
      if (clean !== undefined) shards.push(clean)
      continue
    }
    // Neighbours that are dirty are cut anew together, so that small ones join.
    let from = index === 0 ? undefined : before.shards[index]!.from
    while (dirty.has(index)) index++
    const to = before.shards[index]?.from ?? end
    for (;;) {
      goOn()
      const rows = pieceOf(table, from, to, shardRows)
      if (rows.length === 0) break
      shards.push(await writeShard(work, rows, written))
      from = after(keyOf(rows.at(-1)!))
    }
  }
  return shards
}

/** The least key behind that one. */
const after = (key: Key): Key => `${key}\0`

/** The first rows of a range, so many that neither they nor what stays makes a shard far from the wanted size. */
function pieceOf(table: Table, from: Key | undefined, to: Key | undefined, wanted: number): StoredRow[] {
  const rows = table.range(from, to, 2 * wanted)
  if (rows.length <= wanted * 1.25) return rows
  return rows.slice(0, rows.length < 2 * wanted ? Math.ceil(rows.length / 2) : wanted)
}

async function writeShard(work: CheckpointWork, rows: StoredRow[], written: Shard[]): Promise<Shard> {
  const name = shardName(work.number, written.length)
  const file = new DurableFile<{ rows: StoredRow[] }>(work.fileSystem, work.folder, name, 'rekindle shard')
  await new Low(file, { rows }).write()
  const shard: Shard = {
    file: name,
    from: keyOf(rows[0]!),
    rows: rows.length,
    bytes: file.bytes,
    checksum: file.checksum,
  }
  written.push(shard)
  return shard
}

async function dirtyShards({ before, dirty, fileSystem, goOn }: CheckpointWork): Promise<Set<number>> {
  const found = new Set<number>()
  let looked = 0
  for (const key of dirty) {
    found.add(shardIndexOf(before.shards, key))
    if (++looked % 5_000 === 0) {
      await fileSystem.yield()
      goOn()
    }
  }
  return found
}

/** The last shard that begins at the key or before; the first one if none does. */
function shardIndexOf(shards: readonly Shard[], key: Key): number {
  let low = 0
  let high = shards.length
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (shards[middle]!.from <= key) low = middle
    else high = middle
  }
  return low
}

/**
 * Removes what a durable manifest does not need: older segments, shards of other checkpoints, temporary
 * files. What can't be removed now is tried again after the next checkpoint; a crash in between leaves files
 * that nobody reads.
 */
export async function removeUnused(
  fileSystem: FileSystem,
  folder: string,
  manifest: Manifest,
): Promise<void> {
  const used = new Set(manifest.shards.map(({ file }) => file))
  for (const name of await fileSystem.readFolder(folder)) {
    const segment = segmentOf(name)
    const unused =
      (segment !== null && segment < manifest.segment) ||
      (isShard(name) && !used.has(name)) ||
      isTemporary(name)
    if (unused) await fileSystem.remove(join(folder, name)).catch(() => {})
  }
}

export const isShard = (name: string): boolean => /^shard-\d+-\d+\.json$/.test(name)
const isTemporary = (name: string): boolean => /^(shard-|journal-|manifest\.).*\.tmp$/.test(name)

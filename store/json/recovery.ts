// Opening a folder: take it, read the checkpoint, replay the journal, and make what was read durable before
// anything is built upon it. Until the whole folder has been read and understood nothing in it is changed.

import { join } from 'node:path'
import { StoreError } from '../error.ts'
import { Feed } from '../feed.ts'
import { freeze } from '../plan.ts'
import { type Key, keyOf } from '../store.ts'
import { Table } from '../table.ts'
import {
  isShard,
  MANIFEST,
  type Manifest,
  NO_CHECKPOINT,
  readManifest,
  readShards,
  removeUnused,
} from './checkpoint.ts'
import { type FileSystem, replaceFile } from './file_system.ts'
import {
  damaged,
  type JournalRecord,
  type Replayed,
  replaySegment,
  Segment,
  segmentName,
  segmentOf,
} from './journal.ts'

export interface Recovered {
  readonly table: Table
  readonly feed: Feed
  readonly manifest: Manifest
  readonly segment: Segment
  readonly dirty: Set<Key>
  readonly journalBytes: number
}

/** Rejects with `store_locked`, `store_damaged` or `store_unusable`, and then owns nothing and has changed nothing. */
export async function recover(
  fileSystem: FileSystem,
  folder: string,
): Promise<{ recovered: Recovered; release: () => Promise<void> }> {
  await fileSystem.makeFolder(folder).catch((cause) => unusable(folder, cause))
  await fileSystem.readFolder(folder).catch((cause) => unusable(folder, cause))
  const release = await fileSystem.own(folder).catch((cause) => unusable(folder, cause))
  try {
    return { recovered: await recoverOwned(fileSystem, folder), release }
  } catch (cause) {
    await release()
    return unusable(folder, cause)
  }
}

async function recoverOwned(fileSystem: FileSystem, folder: string): Promise<Recovered> {
  const names = await fileSystem.readFolder(folder)
  const segments = names
    .map(segmentOf)
    .filter((segment) => segment !== null)
    .sort((a, b) => a - b)
  const manifest = names.includes(MANIFEST) ? await readManifest(fileSystem, folder) : NO_CHECKPOINT
  assertBeginning(names, segments, manifest)

  const table = new Table()
  const feed = new Feed(manifest.offset)
  const dirty = new Set<Key>()
  await readShards(fileSystem, folder, manifest, table)
  const apply = (record: JournalRecord): void => {
    const changes = record.changes.map((change) => {
      const row = 'put' in change ? freeze(change.put) : null
      const key = 'put' in change ? keyOf(change.put) : change.remove
      table.set(key, row)
      dirty.add(key)
      return { key, row }
    })
    feed.add({ offset: record.offset, changes })
  }

  let journalBytes = 0
  let torn: { name: string; line: number; byte: number } | null = null
  /** The last segment that has commits. */
  let last: { name: string; bytes: Uint8Array; replayed: Replayed } | null = null
  let number = manifest.segment
  for (const segment of segments) {
    if (segment < manifest.segment) continue
    const name = segmentName(segment)
    const bytes = await fileSystem.readFile(join(folder, name))
    const replayed = await replaySegment(name, bytes, segment, feed.offset, apply, fileSystem.yield)
    journalBytes += replayed.end
    if (replayed.records > 0 && torn !== null)
      throw damaged(
        torn.name,
        torn.line,
        torn.byte,
        `the line is not what was written, and ${name} follows it`,
      )
    if (replayed.torn !== null) torn = { name, ...replayed.torn }
    if (replayed.records > 0 || replayed.torn !== null) last = { name, bytes, replayed }
    // A segment without commits is replaced: it may be of an attempt that failed.
    number = replayed.records > 0 || replayed.torn !== null ? segment + 1 : segment
  }

  // All is understood; from here on the folder is changed.
  if (manifest !== NO_CHECKPOINT)
    await rewrite(fileSystem, folder, MANIFEST, await fileSystem.readFile(join(folder, MANIFEST)))
  if (last !== null) await rewrite(fileSystem, folder, last.name, last.bytes.subarray(0, last.replayed.end))
  const segment = await Segment.create(fileSystem, folder, number, feed.offset)
  await removeUnused(fileSystem, folder, manifest)
  return { table, feed, manifest, segment, dirty, journalBytes }
}

/** The journal begins where the checkpoint ends; a folder without a manifest is new, or has it all. */
function assertBeginning(names: readonly string[], segments: readonly number[], manifest: Manifest): void {
  if (segments.includes(manifest.segment)) return
  if (manifest !== NO_CHECKPOINT) throw damaged(segmentName(manifest.segment), 1, 0, 'the file is missing')
  if (segments.length > 0 || names.some(isShard)) throw damaged(MANIFEST, 1, 0, 'the file is missing')
}

/**
 * What was just read of the last segment may be in the page cache alone: after a failed sync Linux keeps the
 * pages, calls them clean and would report the next sync as done. A power cut would then take back rows that
 * we have shown and built upon. So those bytes go to a new file, which is synced before it takes the name.
 * The torn end is left behind with the old file. Earlier segments were synced before the next one was used.
 * The manifest is treated alike for its name's sake: if the sync of the folder failed after its rename, a power
 * cut could bring back the manifest before it, whose files are about to be removed.
 * A crash here leaves the file of before, or the same one without its torn end.
 */
async function rewrite(
  fileSystem: FileSystem,
  folder: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  await replaceFile(fileSystem, join(folder, name), bytes)
  await fileSystem.syncFolder(folder)
}

const ADVICE: Readonly<Record<string, string>> = {
  EEXIST: 'it is not a folder; name another one',
  ENOTDIR: 'it is not a folder; name another one',
  EROFS: 'make it writable',
  EACCES: 'give this process the right to read and write it',
  EPERM: 'give this process the right to read and write it',
  ENOSPC: 'free some space',
  EDQUOT: 'free some space',
  EIO: 'look after the disk',
}

function unusable(folder: string, cause: unknown): never {
  if (cause instanceof StoreError || !(cause instanceof Error)) throw cause
  const advice = ADVICE[(cause as NodeJS.ErrnoException).code ?? ''] ?? 'see the cause'
  throw new StoreError('store_unusable', `can't use ${folder}: ${cause.message}; ${advice}`, { cause })
}

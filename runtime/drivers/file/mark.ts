// The mark of a resource: the highest fence the backend has seen of it (rules R8, R18). Never cached,
// since another process may raise it. It may not go down, whoever raises it at the same time.
// It is a file of numbers, one appended by each raise; the mark is the highest of them.

import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Ref } from '../../../machines/row.ts'
import { type Backend, idsAt, KINDS, markOf, marksOf, readTag, syncFolder, workOf } from './backend.ts'
import { fail, isErrno } from './error.ts'

/** Only the end is read, some hundred raises: only that many raisers stalled at once could hide a higher one. */
const TAIL_BYTES = 4096

/** The mark; 0 where none was ever raised. */
export async function readMark({ folder, disk }: Backend, ref: Ref): Promise<number> {
  let handle: FileHandle
  try {
    handle = await disk.open(markOf(folder, ref), 'r')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 0
    throw error
  }
  try {
    return await highest(handle)
  } finally {
    await handle.close()
  }
}

/**
 * Raises the mark to at least `fence` and tells what it is then. Durable when it resolves.
 *
 * It appends. Rewriting one number (temporary file and rename) would let two processes that raise at once
 * leave the lower one. An append torn by a crash is harmless: it begins with a newline, and what is left of
 * a number's digits is a smaller number. The append must be atomic, as it is on a file system of one
 * machine, and not on NFS.
 */
export async function raiseMark({ folder, disk }: Backend, ref: Ref, fence: number): Promise<number> {
  if (!Number.isSafeInteger(fence) || fence < 0) throw fail('driver_failed', `${fence} is not a fence`)
  const path = markOf(folder, ref)
  const handle = await disk.open(path, 'a+')
  try {
    const mark = await highest(handle)
    if (mark < fence) await append(handle, `\n${fence}\n`)
    // Also where nothing was appended: the higher number may be another's, not yet synced.
    await handle.sync()
    await syncFolder(disk, dirname(path))
    return Math.max(mark, fence)
  } finally {
    await handle.close()
  }
}

async function append(handle: FileHandle, line: string): Promise<void> {
  const { bytesWritten } = await handle.write(line)
  if (bytesWritten < line.length) throw fail('no_space', 'the mark could not be written whole')
}

async function highest(handle: FileHandle): Promise<number> {
  const { size } = await handle.stat()
  const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES))
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, size - buffer.length)
  // The first line may have lost digits at its front: a smaller number, as harmless as a torn one.
  const lines = buffer.toString('latin1', 0, bytesRead).split('\n')
  return lines.reduce((most, line) => (/^\d+$/.test(line) ? Math.max(most, Number(line)) : most), 0)
}

/**
 * Forgets marks that nobody raised for `keep_ms` and whose resource has nothing here. A mark must outlive
 * its resource: ids are never used again, but a create that stalled before its first step would make the
 * deleted resource anew if the mark did not refuse it. Calls that had begun need no mark for that (their
 * work folder is gone, see claim.ts), so only a process that slept through all of `keep_ms` between its
 * claim and its first step could slip through; that is the price of marks not growing for ever.
 * `now_ms` is the backend's own clock.
 */
export async function forgetMarks(backend: Backend, now_ms: number, keep_ms: number): Promise<void> {
  const { folder, disk } = backend
  const working = (await disk.readdir(workOf(folder))).map((name) => readTag(name)?.ref)
  for (const kind of KINDS) {
    const kept = new Set(await idsAt(backend, kind))
    for (const ref of working) if (ref?.kind === kind) kept.add(ref.id)
    for (const id of await disk.readdir(marksOf(folder, kind))) {
      if (kept.has(id)) continue
      const path = join(marksOf(folder, kind), id)
      try {
        if (now_ms - (await disk.stat(path)).mtimeMs > keep_ms) await disk.rm(path)
      } catch (error) {
        // Another node that starts now was faster.
        if (!isErrno(error, 'ENOENT')) throw error
      }
    }
  }
}

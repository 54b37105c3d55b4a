// One at a time changes how a volume's images hang together. The table lets operations on a volume and on
// its snapshots go on together, on several nodes, and a mark keeps only older claims of one resource away.
// So who links, grows or replaces images of a volume takes its turn first. A turn is held by a claim and
// ends with the claim's work folder: at its end, or when a newer claim takes the folder away.

import { type StatsListener, unwatchFile, watchFile } from 'node:fs'
import { join } from 'node:path'
import type { DriverContext } from '../../driver.ts'
import { exists, placeOf, readTag, tagOf, workOf } from '../file/backend.ts'
import { shutOut } from '../file/claim.ts'
import { isErrno } from '../file/error.ts'
import { readMark } from '../file/mark.ts'
import type { QemuBackend } from './chain.ts'

/** How often a waiting claim looks whether the one before it has ended. */
const LOOK_MS = 50

/** Where the turns of a volume are: links called 1, 2, 3, ..., each saying which claim took it. */
export function turnsOf(folder: string, volume_id: string): string {
  placeOf(folder, { kind: 'volume', id: volume_id })
  return join(folder, 'turns', volume_id)
}

/**
 * Resolves when it is the claim's turn; call it under the claim. The highest number has it. A turn is taken
 * by making the next number, which one claim alone can; and who made it while others went further sees a
 * higher number, and begins again. The highest is never removed before there is a higher one, so a claim
 * that slept between looking and making can't come in beside another.
 */
export async function takeTurn(
  backend: QemuBackend,
  { row, fence, signal }: DriverContext,
  volume_id: string,
): Promise<void> {
  const { disk, folder } = backend
  const turns = turnsOf(folder, volume_id)
  const own = tagOf({ ref: row, fence })
  for (;;) {
    signal.throwIfAborted()
    await disk.mkdir(turns, { recursive: true })
    const last = Math.max(0, ...(await numbersIn(backend, turns)))
    const holder = last === 0 ? null : await holderOf(backend, join(turns, String(last)))
    if (holder !== null && holder !== own && (await isHeld(backend, holder))) {
      await ended(join(workOf(folder), holder), signal)
      continue
    }
    try {
      await disk.symlink(own, join(turns, String(last + 1)))
    } catch (error) {
      // Another was faster, or the volume was deleted with its turns.
      if (isErrno(error, 'EEXIST', 'ENOENT')) continue
      throw error
    }
    const numbers = await numbersIn(backend, turns)
    const isLast = numbers.every((number) => number <= last + 1)
    const over = isLast ? numbers.filter((number) => number <= last) : [last + 1]
    for (const number of over) await disk.rm(join(turns, String(number)), { force: true })
    if (isLast) return
  }
}

/** A claim holds it while its work folder is there; one that is fenced has its folder taken away now. */
async function isHeld(backend: QemuBackend, tag: string): Promise<boolean> {
  const claimed = readTag(tag)
  if (claimed === null || !(await exists(backend.disk, join(workOf(backend.folder), tag)))) return false
  const mark = await readMark(backend, claimed.ref)
  if (mark <= claimed.fence) return true
  await shutOut(backend, claimed.ref, mark)
  return false
}

async function numbersIn({ disk }: QemuBackend, turns: string): Promise<number[]> {
  try {
    return (await disk.readdir(turns)).map(Number)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

async function holderOf({ disk }: QemuBackend, path: string): Promise<string | null> {
  try {
    return await disk.readlink(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    throw error
  }
}

/** Resolves when something has happened to the folder, its end most of all; rejects when aborted. */
function ended(path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      unwatchFile(path, onChange)
      signal.removeEventListener('abort', onAbort)
    }
    const onChange: StatsListener = () => {
      end()
      resolve()
    }
    const onAbort = () => {
      end()
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort)
    // Also told once where the folder is gone already.
    watchFile(path, { interval: LOOK_MS }, onChange)
  })
}

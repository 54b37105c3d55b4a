// A node's start at the folder: it is made where it is missing, proved to be writable, and cleared of what
// crashes left. It disturbs no node that is at work there.

import { dirname, join } from 'node:path'
import type { DriverSetup } from '../../driver.ts'
import {
  ASIDES,
  type Backend,
  type Disk,
  homeOf,
  KINDS,
  marksOf,
  syncFolder,
  trashOf,
  workOf,
} from './backend.ts'
import { clearLeftovers } from './claim.ts'
import { fail } from './error.ts'
import { forgetMarks } from './mark.ts'

/** A file that is written at each set-up. */
export const LAST_SETUP = 'last_setup'

/** Makes the folders, proves that they can be written and synced, and clears what crashes left. */
export async function prepare(
  backend: Backend,
  keep_marks_ms: number,
  { signal }: DriverSetup,
): Promise<void> {
  const { folder, disk } = backend
  try {
    await makeFolder(disk, folder)
    for (const kind of KINDS) {
      await disk.mkdir(homeOf(folder, kind), { recursive: true })
      await disk.mkdir(marksOf(folder, kind), { recursive: true })
    }
    for (const aside of ASIDES) await disk.mkdir(join(folder, aside), { recursive: true })
    await disk.mkdir(workOf(folder), { recursive: true })
    await disk.mkdir(trashOf(folder), { recursive: true })
    await syncFolder(disk, join(folder, 'fences'))
    await syncFolder(disk, folder)
    const now_ms = await touch(disk, join(folder, LAST_SETUP))
    signal.throwIfAborted()
    await clearLeftovers(backend)
    await forgetMarks(backend, now_ms, keep_marks_ms)
  } catch (error) {
    signal.throwIfAborted()
    throw fail('backend_unusable', `the folder ${folder} can't be used: ${String(error)}`, error)
  }
}

/** Makes the folder and those above it that are missing, durably. */
async function makeFolder(disk: Disk, folder: string): Promise<void> {
  const first = await disk.mkdir(folder, { recursive: true })
  if (first === undefined) return
  for (let made = folder; made.length >= first.length; made = dirname(made))
    await syncFolder(disk, dirname(made))
}

/** Writes and syncs the file, and tells the time by the clock of the file system, as marks have it. */
async function touch(disk: Disk, path: string): Promise<number> {
  const handle = await disk.open(path, 'w')
  try {
    await handle.writeFile('Written at each set-up, to see that this folder can be written.\n')
    await handle.sync()
    return (await handle.stat()).mtimeMs
  } finally {
    await handle.close()
  }
}

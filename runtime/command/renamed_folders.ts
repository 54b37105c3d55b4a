// The folders of clusters that were renamed, moved along before any node starts: the rows have the new name
// already (rule R16), the images lie where the old one says. Given folders are left where they are.

import { mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Store, StoreSource } from '../../store/index.ts'
import type { Log } from '../index.ts'
import { EXIT, Exit } from './exit.ts'
import type { PlannedNode } from './serve_plan.ts'

/** The store, in which a folder is where its cluster's name says as soon as it is open. */
export function withRenamedFolders(
  source: StoreSource,
  nodes: readonly PlannedNode[],
  log: Log,
): StoreSource {
  return {
    name: source.name,
    async open() {
      const store = await source.open()
      try {
        for (const { from, to } of await moveFolders(store, nodes))
          log({
            level: 'info',
            message: `${from} was renamed: it is ${to} now`,
            fields: { topic: basename(to) },
          })
        return store
      } catch (error) {
        await store.close()
        throw error
      }
    },
  }
}

/**
 * What a renaming does to folders while nodes of the new name run: file by file, since theirs may hold files of
 * their own. Idempotent; rejects where a file is in both, and the renaming waits until somebody has decided.
 */
export function movingFolders(nodes: readonly PlannedNode[]): (from: string, to: string) => Promise<void> {
  return async (from, to) => {
    for (const folder of new Set(nodes.flatMap(({ own_folder }) => own_folder ?? [])))
      if (basename(folder) === to) await merge(join(dirname(folder), from), folder)
  }
}

async function merge(from: string, to: string): Promise<void> {
  if (!(await isFolder(from))) return
  await mkdir(to, { recursive: true })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [old, now] = [join(from, entry.name), join(to, entry.name)]
    const isThere = (await stat(now).catch(() => null)) !== null
    if (entry.isDirectory() && isThere) await merge(old, now)
    else if (!isThere) await rename(old, now)
    else if (entry.name === 'last_setup') await rm(old)
    else throw new Error(`${old} and ${now} are both there; keep the one that is right`)
  }
  await sync(to)
  await rmdir(from)
  await sync(dirname(from))
}

interface Move {
  readonly from: string
  readonly to: string
}

/**
 * Moves what is left to move; each move is one rename, and doing it again does nothing. A crash before it leaves
 * all where it was, to be moved at the next start. Throws Exit `refused` where both folders hold something.
 */
export async function moveFolders(store: Store, nodes: readonly PlannedNode[]): Promise<readonly Move[]> {
  const names = await newNames(store)
  const own = new Set(nodes.flatMap(({ own_folder }) => own_folder ?? []))
  const moved: Move[] = []
  for (const to of own)
    for (const [old, now] of names) {
      const from = join(dirname(to), old)
      // Nodes that still run under the old name have their things there.
      if (now !== basename(to) || own.has(from) || !(await isFolder(from))) continue
      if (await isFolder(to)) {
        if (await holdsSomething(to))
          throw new Exit(
            EXIT.refused,
            `${old} was renamed to ${now}, and both ${from} and ${to} hold files: put into one what belongs together, or give the nodes a folder`,
            { code: 'two_folders' },
          )
        await rm(to, { recursive: true })
      }
      await rename(from, to)
      await sync(dirname(to))
      moved.push({ from, to })
    }
  return moved
}

/** Old topics, and the name each has by now, however often it was renamed. */
async function newNames(store: Store): Promise<Map<string, string>> {
  const next = new Map<string, string>()
  let after: string | null = null
  do {
    const page: Awaited<ReturnType<Store['list']>> = await store.list(
      { kind: 'cluster' },
      { after, limit: 500 },
    )
    for (const { id, renamed_to } of page.rows) if (typeof renamed_to === 'string') next.set(id, renamed_to)
    after = page.next
  } while (after !== null)
  const last = new Map<string, string>()
  for (const old of next.keys()) {
    let now = old
    // A name may come back: nobody goes round in circles.
    for (let steps = 0; next.has(now) && steps < next.size; steps++) now = next.get(now)!
    if (now !== old) last.set(old, now)
  }
  return last
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() === true
}

/** A driver's set-up makes folders and notes when; that is nothing to keep. */
async function holdsSomething(folder: string): Promise<boolean> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true })
  return found.some((entry) => !entry.isDirectory() && entry.name !== 'last_setup')
}

async function sync(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

// One claim's right to change the backend: a work folder of its own, and a look at the mark before each
// effect. Everything that is published or removed goes through here, as one rename; nothing here knows
// what it is that is made.

import { basename, dirname, join } from 'node:path'
import { type Ref, type ResourceRow, sameRef } from '../../../machines/row.ts'
import type { DriverContext } from '../../driver.ts'
import {
  type Aside,
  type Backend,
  type Claimed,
  exists,
  placeOf,
  readTag,
  syncFolder,
  tagOf,
  trashOf,
  workOf,
} from './backend.ts'
import { fail, isErrno, worded } from './error.ts'
import { raiseMark, readMark } from './mark.ts'

/**
 * A file system cannot compare the mark and write in one step, so looking at the mark and then writing
 * leaves a gap: the mark may be raised in between. The work folder `work/<kind>.<id>.<fence>/` closes it.
 * Everything is made in it and published by one rename out of it, or removed by one rename into it; and
 * raising the mark takes the work folders of older claims away, by one rename.
 *
 * A claim makes its folder, then looks at the mark, then renames. If it looked before the raise, its folder
 * was there to be taken, and the late rename finds no folder; if it looked after, it saw the mark. So once
 * `shutOut` has resolved, no older claim publishes or removes anything. Growing an image is the one effect
 * that is not a rename; see `growImage` for what is left there.
 */
export interface Claim {
  /** Comes before every effect: rejects when the signal is aborted or a newer claim raised the mark. */
  step(fraction: number, note?: string): Promise<void>
  /** Where the claim makes what shall take the place of `ref` (or of its note `aside`); nothing is there yet. */
  work(ref: Ref, aside?: Aside): string
  /** Puts the synced work in its place, at once and for good, over what was there. */
  publish(ref: Ref, aside?: Aside): Promise<void>
  /** Removes what is in the place of `ref`, at once and for good. Nothing there is fine. */
  remove(ref: Ref, aside?: Aside): Promise<void>
  /** As remove, also after an abort: takes back what this claim published and shall not stay. */
  retract(ref: Ref, aside?: Aside): Promise<void>
}

/**
 * Acts under the claim of `context`, and of the rows it holds and writes to; each of these has a folder of
 * its own in the work folder, so that raising its mark alone takes that away. Older claims of these are
 * shut out first; nothing of the claim's work is left behind unless the process dies, and then the next
 * claim of the resource takes it away.
 */
export async function underClaim<T>(
  backend: Backend,
  context: DriverContext,
  held: readonly ResourceRow[],
  act: (claim: Claim) => Promise<T>,
): Promise<T> {
  const own: Claimed = { ref: context.row, fence: context.fence }
  const claims: Claimed[] = [own, ...held.map((row) => ({ ref: row, fence: row.fence }))]
  const home = join(workOf(backend.folder), tagOf(own))
  try {
    context.signal.throwIfAborted()
    for (const { ref, fence } of claims) refuseOlder(ref, fence, await shutOut(backend, ref, fence))
    // Left by an earlier run of this very claim.
    await takeAway(backend, home)
    await backend.disk.mkdir(home)
    for (const claimed of claims.slice(1)) await backend.disk.mkdir(join(home, tagOf(claimed)))
    return await act(claimOver(backend, context, claims, home))
  } catch (error) {
    // A file that vanished under our hands was taken away by a newer claim: say that, not ENOENT.
    if (isErrno(error, 'ENOENT')) await refuseIfFenced(backend, claims)
    throw worded(error, `${context.operation} ${context.row.kind} ${context.row.id}`)
  } finally {
    // What can't be removed now keeps until the next claim; it must not hide how the call ended.
    await backend.disk.rm(home, { recursive: true, force: true }).catch(() => undefined)
  }
}

function claimOver(
  backend: Backend,
  context: DriverContext,
  claims: readonly Claimed[],
  home: string,
): Claim {
  const { disk, folder } = backend
  const work = (ref: Ref, aside?: Aside) => {
    const claimed = claims.find((claim) => sameRef(claim.ref, ref))
    if (claimed === undefined) throw fail('fenced', `no claim on ${ref.kind} ${ref.id}`)
    if (claimed !== claims[0]) return join(home, tagOf(claimed), 'work')
    return join(home, aside ?? tagOf(claimed))
  }
  const check = async () => {
    context.signal.throwIfAborted()
    await refuseIfFenced(backend, claims)
    context.signal.throwIfAborted()
  }
  const take = async (ref: Ref, aside: Aside | undefined, check: () => Promise<void>) => {
    const place = placeOf(folder, ref, aside)
    const away = work(ref, aside)
    await check()
    try {
      await disk.rename(place, away)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
      // Either nothing is there to remove, or our folder is gone.
      await check()
    }
    // Also where nothing was there: an earlier run may have died between its rename and its sync.
    await syncFolder(disk, dirname(place))
    await disk.rm(away, { recursive: true, force: true })
  }
  return {
    work,
    async step(fraction, note) {
      await check()
      context.progress(fraction, note)
    },
    async publish(ref, aside) {
      const place = placeOf(folder, ref, aside)
      await check()
      await disk.rename(work(ref, aside), place)
      // A crash here may lose the name, not what is in it; the next run begins anew or finds it in place.
      await syncFolder(disk, dirname(place))
    },
    remove: (ref, aside) => take(ref, aside, check),
    retract: (ref, aside) => take(ref, aside, () => refuseIfFenced(backend, claims)),
  }
}

/**
 * Raises the mark of `ref` to at least `fence`, takes the work of all older claims away, and tells the
 * mark. When it resolves, no older claim can publish or remove anything of `ref`.
 */
export async function shutOut(backend: Backend, ref: Ref, fence: number): Promise<number> {
  // Mark first: work begun after the folders were looked through sees it.
  const mark = await raiseMark(backend, ref, fence)
  const work = workOf(backend.folder)
  const isOlder = (name: string) => {
    const claimed = readTag(name)
    return claimed !== null && sameRef(claimed.ref, ref) && claimed.fence < mark
  }
  for (const name of await backend.disk.readdir(work)) {
    if (isOlder(name)) await takeAway(backend, join(work, name))
    // A claim of another kind may hold `ref` and have a folder for it: a restore, for its volume.
    else if (readTag(name)?.ref.kind !== ref.kind)
      for (const inner of await namesIn(backend, join(work, name)))
        if (isOlder(inner)) await takeAway(backend, join(work, name, inner))
  }
  return mark
}

/** At a node's start: takes away what crashes left and no running call can need. */
export async function clearLeftovers(backend: Backend): Promise<void> {
  for (const name of await backend.disk.readdir(trashOf(backend.folder)))
    await backend.disk.rm(join(trashOf(backend.folder), name), { recursive: true, force: true })
  for (const name of await backend.disk.readdir(workOf(backend.folder))) {
    const claimed = readTag(name)
    // At the mark it may be running on another node; below, it never can again.
    if (claimed !== null && (await readMark(backend, claimed.ref)) > claimed.fence)
      await takeAway(backend, join(workOf(backend.folder), name))
  }
}

/** One rename: a folder removed piece by piece could still be published, in part, by its owner. */
async function takeAway({ disk, folder }: Backend, path: string): Promise<void> {
  const away = join(trashOf(folder), basename(path))
  for (;;) {
    try {
      await disk.rename(path, away)
      break
    } catch (error) {
      if (isErrno(error, 'ENOENT') && !(await exists(disk, path))) break
      if (!isErrno(error, 'ENOTEMPTY', 'EEXIST', 'EISDIR', 'ENOTDIR')) throw error
      await disk.rm(away, { recursive: true, force: true })
    }
  }
  await disk.rm(away, { recursive: true, force: true })
}

async function namesIn({ disk }: Backend, path: string): Promise<string[]> {
  try {
    return await disk.readdir(path)
  } catch (error) {
    // That claim ended meanwhile.
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return []
    throw error
  }
}

async function refuseIfFenced(backend: Backend, claims: readonly Claimed[]): Promise<void> {
  for (const { ref, fence } of claims) refuseOlder(ref, fence, await readMark(backend, ref))
}

function refuseOlder(ref: Ref, fence: number, mark: number): void {
  if (mark > fence)
    throw fail('fenced', `an older fence is refused: ${fence} for ${ref.kind} ${ref.id}, which is at ${mark}`)
}

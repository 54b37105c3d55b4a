// How images hang together. A volume is an overlay over the snapshot it was last frozen into or reverted to,
// that one over an older one, and so on; the names of backing files are relative, so the folder can move.
// Headers are read here and never written: qemu-img writes images.

import type * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { type Backend, type Disk, homeOf, placeOf } from '../file/backend.ts'
import { isErrno } from '../file/error.ts'
import { failed } from './error.ts'

/** What this driver uses of `node:fs/promises`. */
export type QemuDisk = Disk & Pick<typeof fs, 'link' | 'readlink' | 'symlink'>

export interface QemuBackend extends Backend {
  readonly disk: QemuDisk
}

export interface Header {
  /** The size that a guest sees. */
  readonly bytes: number
  /** The id of the snapshot below it; null where it stands alone. */
  readonly backing: string | null
}

/** A chain changes by whole operations; who meets a changed one this often is not racing. */
export const MOST_TRIES = 8

const HEADER_BYTES = 104
const MAGIC = 0x514649fb
const BACKING = /^\.\.\/snapshots\/([a-z0-9][a-z0-9_-]{0,127})\.img$/i

/** The name of a snapshot as the backing file of any image here. Both folders have the same depth. */
export function backingName(id: string): string {
  return `../snapshots/${id}.img`
}

/** Reads the header of the image at `path`. One that this driver can't have written is refused. */
export async function readHeader(disk: Disk, path: string): Promise<Header> {
  const handle = await disk.open(path, 'r')
  try {
    return await headerOf(handle, path)
  } finally {
    await handle.close()
  }
}

export async function headerOf(handle: fs.FileHandle, path: string): Promise<Header> {
  const header = Buffer.alloc(HEADER_BYTES)
  await handle.read(header, 0, HEADER_BYTES, 0)
  if (header.readUInt32BE(0) !== MAGIC || header.readUInt32BE(4) !== 3)
    throw failed('bad_image', `${path} is no qcow2 image of version 3`)
  // Neither encryption nor, of the incompatible features, any but "dirty": else data lies otherwise.
  if (header.readUInt32BE(32) !== 0 || (header.readBigUInt64BE(72) & ~1n) !== 0n)
    throw failed('bad_image', `${path} uses features of qcow2 that are never written here`)
  const bytes = Number(header.readBigUInt64BE(24))
  const offset = Number(header.readBigUInt64BE(8))
  if (offset === 0) return { bytes, backing: null }
  const name = Buffer.alloc(Math.min(header.readUInt32BE(16), 1023))
  await handle.read(name, 0, name.length, offset)
  const backing = BACKING.exec(name.toString())?.[1]
  // A backing file anywhere else would let an image read what is not its own.
  if (backing === undefined)
    throw failed('bad_image', `${path} is backed by '${name}', which is no snapshot here`)
  return { bytes, backing }
}

/** The places of an image and of all below it, the image first. */
export async function chainOf({ disk, folder }: QemuBackend, place: string): Promise<string[]> {
  const chain = [place]
  for (let at = place; ; ) {
    const { backing } = await readHeader(disk, at)
    if (backing === null) return chain
    at = placeOf(folder, { kind: 'snapshot', id: backing })
    // qemu-img would open it for ever.
    if (chain.includes(at)) throw failed('bad_image', `${place} is backed by itself`)
    chain.push(at)
  }
}

/** What lies directly over a snapshot: the places of its volume and of other snapshots. */
export async function childrenOf(
  { disk, folder }: QemuBackend,
  volume_id: string,
  id: string,
): Promise<string[]> {
  const home = homeOf(folder, 'snapshot')
  const snapshots = (await disk.readdir(home)).map((name) => join(home, name))
  const places = [placeOf(folder, { kind: 'volume', id: volume_id }), ...snapshots]
  const children: string[] = []
  for (const place of places) {
    try {
      if ((await readHeader(disk, place)).backing === id) children.push(place)
    } catch (error) {
      // Removed meanwhile, or not there any longer.
      if (!isErrno(error, 'ENOENT')) throw error
    }
  }
  return children
}

/** Whether two names are one file: a snapshot that is being made and its volume, for a moment. */
export async function isSameFile(disk: Disk, a: string, b: string): Promise<boolean> {
  try {
    const [one, other] = await Promise.all([disk.stat(a), disk.stat(b)])
    return one.ino === other.ino && one.dev === other.dev
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

/**
 * Gives every image of a chain a second name below `home`, so that neither a removal nor a merge takes one
 * away while qemu-img reads. Tells the name of the first. What a name stands for never changes its content
 * (save a volume's own image), so names taken one after the other fit together; one that vanished in between
 * means that the image above it was replaced, and it is begun anew.
 */
export async function pinChain({ disk, folder }: QemuBackend, place: string, home: string): Promise<string> {
  const first = pinOf(folder, place, home)
  for (let tries = 0; ; tries++) {
    try {
      for (let at: string | null = place; at !== null; ) {
        const pin = pinOf(folder, at, home)
        await disk.rm(pin, { force: true })
        await disk.link(at, pin)
        const { backing } = await readHeader(disk, pin)
        at = backing === null ? null : placeOf(folder, { kind: 'snapshot', id: backing })
      }
      return first
    } catch (error) {
      if (tries === MOST_TRIES || !isErrno(error, 'ENOENT')) throw error
    }
  }
}

function pinOf(folder: string, place: string, home: string): string {
  return join(home, place.slice(folder.length + 1))
}

/**
 * Makes the folders of images below `home`, the work folder of a claim: there an image has the place that it
 * will have in the backend's folder, and names of backing files lead to pins as they will lead to snapshots.
 */
export async function makeHomes(disk: Disk, home: string): Promise<void> {
  await disk.mkdir(homeOf(home, 'volume'), { recursive: true })
  await disk.mkdir(homeOf(home, 'snapshot'), { recursive: true })
}

// A raw image: a file as long as the volume, with holes where nothing was written. Holes stay holes.

import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { type Backend, type Disk, idsAt, placeOf } from './backend.ts'
import type { Claim } from './claim.ts'
import { fail, isErrno } from './error.ts'

export const GIB = 2 ** 30
const SECTOR_BYTES = 512
const BLOCK_BYTES = 4096

/** GiB, perhaps a fraction, as whole sectors. */
export function bytesOf(size: unknown): number {
  if (typeof size !== 'number' || !Number.isFinite(size) || size <= 0)
    throw fail('bad_size', `the size ${JSON.stringify(size)} is not a positive number of GiB`)
  return Math.ceil((size * GIB) / SECTOR_BYTES) * SECTOR_BYTES
}

/** The size in GiB: as it was asked for, if the image is that long, else as it is. */
export function sizeOf(bytes: number, asked: unknown): number {
  return typeof asked === 'number' && asked > 0 && bytesOf(asked) === bytes ? asked : bytes / GIB
}

/** How long all images of volumes and snapshots are together, holes and all. */
export async function imageBytes(backend: Backend): Promise<number> {
  let bytes = 0
  for (const kind of ['volume', 'snapshot'] as const)
    for (const id of await idsAt(backend, kind))
      try {
        bytes += (await backend.disk.stat(placeOf(backend.folder, { kind, id }))).size
      } catch (error) {
        // Removed meanwhile.
        if (!isErrno(error, 'ENOENT')) throw error
      }
  return bytes
}

/** Opens, acts, syncs, closes. What was written is durable when it resolves; the name may not be. */
export async function writing<T>(
  disk: Disk,
  path: string,
  flags: 'wx' | 'r+',
  act: (handle: FileHandle) => Promise<T>,
): Promise<T> {
  const handle = await disk.open(path, flags)
  try {
    const result = await act(handle)
    await handle.sync()
    return result
  } finally {
    await handle.close()
  }
}

/**
 * Makes the image at least `bytes` long and tells how long it is. Never shrinks it, even against another
 * process that grows it at the same time: it writes the last byte where truncating could cut.
 *
 * This write is in place, so the gap between looking at the mark and writing stays open here: a claim that
 * stalls exactly there may still grow the image after a newer one raised the mark. It loses nothing, save
 * where the newer claim has grown it further in that moment and someone has written to that very last byte.
 */
export async function growImage(disk: Disk, path: string, bytes: number, claim: Claim): Promise<number> {
  return writing(disk, path, 'r+', async (handle) => {
    await claim.step(0, 'growing')
    const { size } = await handle.stat()
    if (size >= bytes) return size
    await handle.write(Buffer.alloc(1), 0, 1, bytes - 1)
    return bytes
  })
}

/**
 * Copies an image and makes the copy at least `bytes` long. It shares blocks where the file system can (at
 * once, and a true point in time), else goes piece by piece, leaving out what is zero. Then what is written
 * to the source meanwhile may or may not be in the copy.
 *
 * All of the source is read, holes too: Node cannot ask where they are, and `stat.blocks` does not tell
 * (file systems that compress, embed or allocate late count fewer blocks than hold data).
 */
export async function copyImage(
  backend: Backend,
  from: string,
  to: string,
  claim: Claim,
  bytes = 0,
): Promise<void> {
  const { disk } = backend
  await claim.step(0, 'copying')
  if (await reflinked(disk, from, to))
    return writing(disk, to, 'r+', async (copy) => {
      if ((await copy.stat()).size < bytes) await copy.truncate(bytes)
    })
  await writing(disk, to, 'wx', async (copy) => {
    for await (const piece of piecesOf(backend, from)) {
      await claim.step(piece.position / piece.bytes, 'copying')
      if (piece.position === 0) await copy.truncate(Math.max(piece.bytes, bytes))
      await writeSparse(copy, piece.data, piece.position)
    }
  })
}

async function reflinked(disk: Disk, from: string, to: string): Promise<boolean> {
  try {
    await disk.copyFile(from, to, constants.COPYFILE_FICLONE_FORCE)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'EXDEV', 'ENOTTY')) return false
    throw error
  }
}

export interface Piece {
  /** Valid until the next piece is asked for. */
  readonly data: Buffer
  readonly position: number
  /** The length of the whole image. */
  readonly bytes: number
}

/** Reads an image in order. Its length is taken once, at the start. */
export async function* piecesOf({ disk, piece_bytes }: Backend, path: string): AsyncGenerator<Piece> {
  const handle = await disk.open(path, 'r')
  try {
    const { size } = await handle.stat()
    const buffer = Buffer.alloc(Math.min(piece_bytes, size))
    for (let position = 0; position < size; position += buffer.length) {
      const data = buffer.subarray(0, size - position)
      for (let filled = 0; filled < data.length; ) {
        const { bytesRead } = await handle.read(data, filled, data.length - filled, position + filled)
        if (bytesRead === 0) throw fail('driver_failed', `${path} ends before byte ${size}`)
        filled += bytesRead
      }
      yield { data, position, bytes: size }
    }
  } finally {
    await handle.close()
  }
}

/** The SHA-256 of an image, holes read as zeros; `step` comes before each piece. */
export async function hashImage(
  backend: Backend,
  path: string,
  step: (fraction: number) => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256')
  for await (const { data, position, bytes } of piecesOf(backend, path)) {
    await step(position / bytes)
    hash.update(data)
  }
  return hash.digest('hex')
}

/** Zero at the front, and every byte like the one before it: two native steps, however long. */
export function isZero(data: Buffer): boolean {
  return data.length === 0 || (data[0] === 0 && data.subarray(1).equals(data.subarray(0, -1)))
}

/** Writes what is not zero, in blocks, to a file that is a hole there. */
export async function writeSparse(handle: FileHandle, data: Buffer, position: number): Promise<void> {
  if (isZero(data)) return
  const isHole = (at: number) => isZero(data.subarray(at, at + BLOCK_BYTES))
  for (let start = 0; start < data.length; ) {
    let end = start
    while (end < data.length && !isHole(end)) end += BLOCK_BYTES
    if (end > start) await writeAll(handle, data.subarray(start, end), position + start)
    start = end + BLOCK_BYTES
  }
}

async function writeAll(handle: FileHandle, data: Buffer, position: number): Promise<void> {
  for (let done = 0; done < data.length; )
    done += (await handle.write(data, done, data.length - done, position + done)).bytesWritten
}

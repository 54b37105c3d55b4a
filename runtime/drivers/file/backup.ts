// A backup at rest: a folder of compressed chunks and a manifest with the SHA-256 of each. It is published
// as a whole, by one rename, so a backup that is there is complete. Nothing is restored that is not, byte
// for byte, what was backed up.

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { JsonObject } from '../../../machines/row.ts'
import { type Backend, syncFolder } from './backend.ts'
import type { Claim } from './claim.ts'
import { fail, isErrno } from './error.ts'
import { isZero, piecesOf, sizeOf, writeSparse, writing } from './image.ts'

const compress = promisify(gzip)
const decompress = promisify(gunzip)

export interface Manifest {
  readonly format: 1
  readonly volume_id: string
  /** Of the image. */
  readonly bytes: number
  /** Of an image's chunk; the last one may be shorter. */
  readonly chunk_bytes: number
  /** Of all chunk files together. */
  readonly stored_bytes: number
  /** The SHA-256 of each chunk before compression; null where it is all zero and has no file. */
  readonly chunks: readonly (string | null)[]
}

export function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}

/** Writes the folder of a backup of `image`, the manifest last. Durable when it resolves, save its name. */
export async function writeBackup(
  backend: Backend,
  image: string,
  volume_id: string,
  folder: string,
  claim: Claim,
): Promise<void> {
  const { disk, piece_bytes } = backend
  const chunks: (string | null)[] = []
  let bytes = 0
  let stored_bytes = 0
  await disk.mkdir(folder)
  for await (const piece of piecesOf(backend, image)) {
    bytes = piece.bytes
    await claim.step(piece.position / bytes, `chunk ${chunks.length}`)
    if (isZero(piece.data)) {
      chunks.push(null)
      continue
    }
    const packed = await compress(piece.data)
    await writing(disk, chunkOf(folder, chunks.length), 'wx', (handle) => handle.writeFile(packed))
    chunks.push(sha256(piece.data))
    stored_bytes += packed.length
  }
  const manifest: Manifest = { format: 1, volume_id, bytes, chunk_bytes: piece_bytes, stored_bytes, chunks }
  const text = JSON.stringify(manifest, null, 1)
  await claim.step(1, 'manifest')
  await writing(disk, manifestOf(folder), 'wx', (handle) => handle.writeFile(text))
  await syncFolder(disk, folder)
}

/** What the backup's row is told: sizes, and the manifest's own SHA-256, which covers all the others. */
export async function factsOf(backend: Backend, folder: string, asked: unknown): Promise<JsonObject> {
  const { manifest, digest } = await readManifest(backend, folder)
  const { bytes, stored_bytes, chunks } = manifest
  return { size: sizeOf(bytes, asked), bytes, stored_bytes, chunks: chunks.length, sha256: digest }
}

/**
 * Writes the backup into a new image of `bytes` at `image`, each chunk compared with its hash first, and
 * the manifest with `digest` where the row knows it. Durable when it resolves, save its name.
 */
export async function restoreBackup(
  backend: Backend,
  folder: string,
  digest: unknown,
  image: string,
  bytes: number,
  claim: Claim,
): Promise<void> {
  const { disk } = backend
  const read = await readManifest(backend, folder)
  if (typeof digest === 'string' && digest !== read.digest)
    throw damaged(manifestOf(folder), `its SHA-256 is not ${digest}`)
  const { manifest } = read
  if (manifest.bytes > bytes)
    throw fail('backup_too_large', `a backup of ${manifest.bytes} bytes does not fit into ${bytes}`)
  await claim.step(0, 'restoring')
  await writing(disk, image, 'wx', async (handle) => {
    await handle.truncate(bytes)
    for (const [index, hash] of manifest.chunks.entries()) {
      await claim.step(index / manifest.chunks.length, `chunk ${index}`)
      if (hash === null) continue
      const position = index * manifest.chunk_bytes
      const length = Math.min(manifest.chunk_bytes, manifest.bytes - position)
      await writeSparse(handle, await readChunk(backend, folder, index, hash, length), position)
    }
  })
}

async function readChunk(backend: Backend, folder: string, index: number, hash: string, length: number) {
  const path = chunkOf(folder, index)
  const packed = await present(backend, path, `chunk ${index}`)
  let data: Buffer
  try {
    data = await decompress(packed, { maxOutputLength: length })
  } catch (cause) {
    throw damaged(path, `chunk ${index} does not decompress`, cause)
  }
  if (data.length !== length || sha256(data) !== hash)
    throw damaged(path, `chunk ${index} is not what was backed up: its SHA-256 is not ${hash}`)
  return data
}

async function readManifest(backend: Backend, folder: string) {
  const path = manifestOf(folder)
  const text = await present(backend, path, 'the manifest')
  let manifest: unknown
  try {
    manifest = JSON.parse(text.toString())
  } catch (cause) {
    throw damaged(path, 'it is not JSON', cause)
  }
  if (!isManifest(manifest)) throw damaged(path, 'it is not a manifest of format 1')
  return { manifest, digest: sha256(text) }
}

function isManifest(value: unknown): value is Manifest {
  const { format, bytes, chunk_bytes, chunks } = (value ?? {}) as Partial<Manifest>
  return (
    format === 1 &&
    typeof bytes === 'number' &&
    typeof chunk_bytes === 'number' &&
    Array.isArray(chunks) &&
    chunks.length === Math.ceil(bytes / chunk_bytes) &&
    chunks.every((hash) => hash === null || typeof hash === 'string')
  )
}

/** The folder is published whole, so what is missing in it was lost later. */
async function present({ disk }: Backend, path: string, what: string): Promise<Buffer> {
  try {
    return await disk.readFile(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw damaged(path, `${what} is missing`, error)
    throw error
  }
}

function damaged(path: string, how: string, cause?: unknown) {
  return fail('backup_damaged', `${path} is damaged: ${how}`, cause)
}

function chunkOf(folder: string, index: number): string {
  return join(folder, `${index}.gz`)
}

function manifestOf(folder: string): string {
  return join(folder, 'manifest.json')
}

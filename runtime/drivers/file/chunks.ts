// A backup at rest: a folder of compressed chunks and a manifest with the SHA-256 of each. It is published
// as a whole, by one rename, so a backup that is there is complete. Nothing is restored that is not, byte
// for byte, what was backed up.

import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { JsonObject } from '../../../machines/row.ts'
import { type Backend, syncFolder } from './backend.ts'
import type { Claim } from './claim.ts'
import { fail } from './error.ts'
import { isZero, piecesOf, sizeOf, writeSparse, writing } from './image.ts'
import {
  chunkHomes,
  chunkOf,
  damaged,
  type Manifest,
  manifestOf,
  present,
  type ReadManifest,
  readChain,
  readManifest,
  sha256,
} from './manifest.ts'

const compress = promisify(gzip)
const decompress = promisify(gunzip)

export interface BackedUp {
  /** What is read. */
  readonly image: string
  readonly volume_id: string
  /** What an incremental backup is made against: chunks that are alike there are not written again. */
  readonly parent: (ReadManifest & { readonly id: string }) | null
}

/** Writes the folder of a backup, the manifest last. Durable when it resolves, save its name. */
export async function writeBackup(
  backend: Backend,
  { image, volume_id, parent }: BackedUp,
  folder: string,
  claim: Claim,
): Promise<void> {
  const { disk } = backend
  // The parent's chunks compare with chunks of the same length alone.
  const chunk_bytes = parent?.manifest.chunk_bytes ?? backend.piece_bytes
  const chunks: (string | null)[] = []
  const inherited: number[] = []
  let bytes = 0
  let stored_bytes = 0
  await disk.mkdir(folder)
  for await (const piece of piecesOf({ ...backend, piece_bytes: chunk_bytes }, image)) {
    const index = chunks.length
    bytes = piece.bytes
    await claim.step(piece.position / bytes, `chunk ${index}`)
    const hash = isZero(piece.data) ? null : sha256(piece.data)
    chunks.push(hash)
    if (hash === null) continue
    if (hash === parent?.manifest.chunks[index]) {
      inherited.push(index)
      continue
    }
    const packed = await compress(piece.data)
    await writing(disk, chunkOf(folder, index), 'wx', (handle) => handle.writeFile(packed))
    stored_bytes += packed.length
  }
  const shape = { volume_id, bytes, chunk_bytes, stored_bytes, chunks }
  const manifest: Manifest =
    parent === null
      ? { format: 1, ...shape }
      : { format: 2, ...shape, parent: { id: parent.id, sha256: parent.digest }, inherited }
  const text = JSON.stringify(manifest, null, 1)
  await claim.step(1, 'manifest')
  await writing(disk, manifestOf(folder), 'wx', (handle) => handle.writeFile(text))
  await syncFolder(disk, folder)
}

/** What the backup's row is told: sizes, and the manifest's own SHA-256, which covers all the others. */
export async function factsOf(backend: Backend, folder: string, asked: unknown): Promise<JsonObject> {
  const { manifest, digest } = await readManifest(backend, folder, null)
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
  const chain = await readChain(backend, folder, digest)
  const [{ manifest }] = chain
  const homeOf = chunkHomes(chain)
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
      await writeSparse(handle, await readChunk(backend, homeOf(index)!, index, hash, length), position)
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

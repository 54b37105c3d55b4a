// What a backup's folder holds: the manifest with the SHA-256 of each chunk, and for an incremental one
// which chunks are its parent's. Each manifest has the SHA-256 of its parent's, so that one digest covers
// all that a restore will read.

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { type Backend, placeOf } from './backend.ts'
import { fail, isErrno } from './error.ts'

export interface Manifest {
  /** 1: every chunk is here. 2: incremental. */
  readonly format: 1 | 2
  readonly volume_id: string
  /** Of the image. */
  readonly bytes: number
  /** Of an image's chunk; the last one may be shorter. */
  readonly chunk_bytes: number
  /** Of all chunk files in this folder together. */
  readonly stored_bytes: number
  /** The SHA-256 of each chunk before compression; null where it is all zero and has no file. */
  readonly chunks: readonly (string | null)[]
  /** Of an incremental backup: its parent, and the SHA-256 of that one's manifest. */
  readonly parent?: { readonly id: string; readonly sha256: string }
  /** Of an incremental backup: the chunks that are the parent's, or its parent's, and have no file here. */
  readonly inherited?: readonly number[]
}

export interface ReadManifest {
  readonly folder: string
  readonly manifest: Manifest
  /** The SHA-256 of the manifest's file. */
  readonly digest: string
}

export function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}

export function chunkOf(folder: string, index: number): string {
  return join(folder, `${index}.gz`)
}

export function manifestOf(folder: string): string {
  return join(folder, 'manifest.json')
}

/** The manifest in `folder`, compared with `digest` where that is known. */
export async function readManifest(backend: Backend, folder: string, digest: unknown): Promise<ReadManifest> {
  const path = manifestOf(folder)
  const text = await present(backend, path, 'the manifest')
  const found = sha256(text)
  if (typeof digest === 'string' && digest !== found) throw damaged(path, `its SHA-256 is not ${digest}`)
  let manifest: unknown
  try {
    manifest = JSON.parse(text.toString())
  } catch (cause) {
    throw damaged(path, 'it is not JSON', cause)
  }
  if (!isManifest(manifest)) throw damaged(path, 'it is not a manifest of format 1 or 2')
  return { folder, manifest, digest: found }
}

/** A backup's manifest and those of its parents, the oldest last; each verified by the one before it. */
export async function readChain(
  backend: Backend,
  folder: string,
  digest: unknown,
): Promise<readonly [ReadManifest, ...ReadManifest[]]> {
  const first = await readManifest(backend, folder, digest)
  const chain: [ReadManifest, ...ReadManifest[]] = [first]
  for (let { manifest } = first; manifest.parent !== undefined; ) {
    const { id, sha256 } = manifest.parent
    const link = await readManifest(backend, placeOf(backend.folder, { kind: 'backup', id }), sha256)
    if (link.manifest.chunk_bytes !== manifest.chunk_bytes)
      throw damaged(manifestOf(link.folder), `its chunks are not ${manifest.chunk_bytes} bytes long`)
    chain.push(link)
    manifest = link.manifest
  }
  return chain
}

/** In which folder each chunk's file is, by its index; undefined where the chain does not reach that far. */
export function chunkHomes(chain: readonly ReadManifest[]): (index: number) => string | undefined {
  const links = chain.map(({ folder, manifest }) => ({ folder, inherited: new Set(manifest.inherited) }))
  return (index) => links.find(({ inherited }) => !inherited.has(index))?.folder
}

/** The folder is published whole, so what is missing in it was lost later. */
export async function present({ disk }: Backend, path: string, what: string): Promise<Buffer> {
  try {
    return await disk.readFile(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw damaged(path, `${what} is missing`, error)
    throw error
  }
}

export function damaged(path: string, how: string, cause?: unknown) {
  return fail('backup_damaged', `${path} is damaged: ${how}`, cause)
}

function isManifest(value: unknown): value is Manifest {
  const { format, bytes, chunk_bytes, chunks, parent, inherited } = (value ?? {}) as Partial<Manifest>
  const isIncremental =
    typeof parent?.id === 'string' &&
    typeof parent.sha256 === 'string' &&
    Array.isArray(inherited) &&
    inherited.every((index) => Number.isSafeInteger(index))
  return (
    ((format === 1 && parent === undefined && inherited === undefined) || (format === 2 && isIncremental)) &&
    typeof bytes === 'number' &&
    typeof chunk_bytes === 'number' &&
    Array.isArray(chunks) &&
    chunks.length === Math.ceil(bytes / chunk_bytes) &&
    chunks.every((hash) => hash === null || typeof hash === 'string')
  )
}

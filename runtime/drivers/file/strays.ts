// Looks through a file driver's whole folder for what belongs to no resource, and for what a backup needs
// and is not there. For a folder at rest: what a running call has made so far is unfinished. Changes nothing.

import type { Dirent } from 'node:fs'
import * as fs from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import {
  ASIDES,
  type Backend,
  homeOf,
  idsAt,
  isId,
  KINDS,
  marksOf,
  placeOf,
  trashOf,
  workOf,
} from './backend.ts'
import {
  chunkHomes,
  chunkOf,
  type Manifest,
  manifestOf,
  type ReadManifest,
  readManifest,
} from './manifest.ts'
import { LAST_SETUP } from './setup.ts'

/** Paths within the folder, sorted. */
export interface Strays {
  /** The work of claims that run, or that crashed and were not done again yet, and what is on its way out. */
  readonly unfinished: readonly string[]
  /** Files that no resource accounts for. */
  readonly strays: readonly string[]
  /** Manifests and chunks, its own and inherited, that a backup needs and that are not there or not readable. */
  readonly missing: readonly string[]
}

/**
 * Accounts for every file in `folder`. What `scan` lists as present is not listed again, and neither are
 * marks: they outlive their resources. Chunks are looked for, not read: only a restore proves them.
 */
export async function strayFiles(folder: string): Promise<Strays> {
  const backend: Backend = { folder, disk: fs, piece_bytes: 0 }
  const needs = await needsOf(backend)
  const volumes = new Set(await idsAt(backend, 'volume'))
  const unfinished: string[] = []
  const strays: string[] = []
  for (const entry of await fs.readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (needs.files.delete(path) || isExpected(folder, volumes, entry)) continue
    if (needs.unreadable.has(entry.parentPath)) continue
    if ([workOf(folder), trashOf(folder)].includes(entry.parentPath)) unfinished.push(path)
    else if (!isWithin(workOf(folder), path) && !isWithin(trashOf(folder), path)) strays.push(path)
  }
  const told = (paths: Iterable<string>) => [...paths].map((path) => relative(folder, path)).sort()
  const missing = new Set([...needs.files, ...[...needs.unreadable].map(manifestOf)])
  return { unfinished: told(unfinished), strays: told(strays), missing: told(missing) }
}

/** The files that the backups need, those of their parents too, and the folders whose manifest can't be read. */
async function needsOf(backend: Backend): Promise<{ files: Set<string>; unreadable: Set<string> }> {
  const files = new Set<string>()
  const unreadable = new Set<string>()
  for (const id of await idsAt(backend, 'backup')) {
    const chain: ReadManifest[] = []
    let place: string | null = placeOf(backend.folder, { kind: 'backup', id })
    let digest: string | null = null
    while (place !== null) {
      const link: ReadManifest | null = await readManifest(backend, place, digest).catch(() => null)
      if (link === null) {
        unreadable.add(place)
        break
      }
      chain.push(link)
      files.add(manifestOf(place))
      const { parent }: Manifest = link.manifest
      place = parent === undefined ? null : placeOf(backend.folder, { kind: 'backup', id: parent.id })
      digest = parent?.sha256 ?? null
    }
    const [own] = chain
    if (own === undefined) continue
    const homeOf = chunkHomes(chain)
    for (const [index, hash] of own.manifest.chunks.entries()) {
      const home = homeOf(index)
      if (hash !== null && home !== undefined) files.add(chunkOf(home, index))
    }
  }
  return { files, unreadable }
}

/** Whether it is a folder of the driver, a resource, a mark, or the note of a volume that is there. */
function isExpected(folder: string, volumes: ReadonlySet<string>, entry: Dirent): boolean {
  const { name, parentPath } = entry
  const path = join(parentPath, name)
  if (path === join(folder, LAST_SETUP)) return true
  const homes = KINDS.flatMap((kind) => [homeOf(folder, kind), marksOf(folder, kind)])
  const asides = ASIDES.map((aside) => join(folder, aside))
  if ([...homes, ...asides, workOf(folder), trashOf(folder), join(folder, 'fences')].includes(path))
    return true
  if (asides.includes(parentPath)) return volumes.has(name)
  // Where a qemu driver notes whose turn it is to change a volume's images.
  const turns = join(folder, 'turns')
  if (path === turns || dirname(parentPath) === turns) return true
  if (parentPath === turns) return volumes.has(name)
  return KINDS.some((kind) => {
    if (parentPath === marksOf(folder, kind)) return isId(name)
    const id = kind === 'backup' ? name : basename(name, '.img')
    return parentPath === homeOf(folder, kind) && isId(id) && path === placeOf(folder, { kind, id })
  })
}

function isWithin(home: string, path: string): boolean {
  return path.startsWith(join(home, '/'))
}

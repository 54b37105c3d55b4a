// Where things lie in the folder, and the one door to the file system. Ids come from rows; still no name
// that could leave the folder gets past this file.

import type * as fs from 'node:fs/promises'
import { join } from 'node:path'
import type { Ref } from '../../../machines/row.ts'
import { fail, isErrno } from './error.ts'

/** What the driver uses of `node:fs/promises`, so that a test can crash or stall it at any call. */
export type Disk = Pick<
  typeof fs,
  'copyFile' | 'mkdir' | 'open' | 'readdir' | 'readFile' | 'rename' | 'rm' | 'stat' | 'statfs'
>

export interface Backend {
  /**
   * volumes/<id>.img, snapshots/<id>.img, backups/<id>/{manifest.json,<n>.gz}: the resources
   * arrivals/<id>: where a volume was migrated here from, see migration.ts
   * fences/<kind>/<id>: the mark of a resource, see mark.ts
   * work/<kind>.<id>.<fence>/: the work of one claim, see claim.ts
   * trash/: on its way out
   */
  readonly folder: string
  readonly disk: Disk
  /** How much is copied between two looks at the signal and the mark; also the size of a backup's chunk. */
  readonly piece_bytes: number
}

export const KINDS = ['volume', 'snapshot', 'backup'] as const
export type Kind = (typeof KINDS)[number]

const HOMES = { volume: 'volumes', snapshot: 'snapshots', backup: 'backups' } as const
const ID = /^[a-z0-9][a-z0-9_-]{0,127}$/i
const TAG = /^(volume|snapshot|backup)\.([a-z0-9][a-z0-9_-]{0,127})\.(\d{1,16})$/i

export function isId(name: string): boolean {
  return ID.test(name)
}

function checked(ref: Ref): { kind: Kind; id: string } {
  const kind = KINDS.find((known) => known === ref.kind)
  if (kind === undefined) throw fail('bad_id', `a file driver has no '${ref.kind}', only ${KINDS.join(', ')}`)
  if (!isId(ref.id)) throw fail('bad_id', `the id '${ref.id}' of a ${kind} must match ${ID}`)
  return { kind, id: ref.id }
}

export function homeOf(folder: string, kind: Kind): string {
  return join(folder, HOMES[kind])
}

/** Folders of notes beside the resources, one named as the id of each that has one. */
export const ASIDES = ['arrivals'] as const
export type Aside = (typeof ASIDES)[number]

/** The file (of a backup: the folder) that is the resource; or its note in the folder `aside`. */
export function placeOf(folder: string, ref: Ref, aside?: Aside): string {
  const { kind, id } = checked(ref)
  if (aside !== undefined) return join(folder, aside, id)
  return join(homeOf(folder, kind), kind === 'backup' ? id : `${id}.img`)
}

export function marksOf(folder: string, kind: Kind): string {
  return join(folder, 'fences', kind)
}

export function markOf(folder: string, ref: Ref): string {
  const { kind, id } = checked(ref)
  return join(marksOf(folder, kind), id)
}

export function workOf(folder: string): string {
  return join(folder, 'work')
}

export function trashOf(folder: string): string {
  return join(folder, 'trash')
}

/** A resource under one claim of it. */
export interface Claimed {
  readonly ref: Ref
  readonly fence: number
}

/** The claim as a file's name. An id has no dot, so it reads back as one thing only. */
export function tagOf({ ref, fence }: Claimed): string {
  const { kind, id } = checked(ref)
  return `${kind}.${id}.${fence}`
}

export function readTag(name: string): Claimed | null {
  const [, kind, id, fence] = TAG.exec(name) ?? []
  return kind && id && fence ? { ref: { kind, id }, fence: Number(fence) } : null
}

/** The ids that have a place at the backend. */
export async function idsAt(
  { folder, disk }: Pick<Backend, 'folder' | 'disk'>,
  kind: Kind,
): Promise<string[]> {
  const names = await disk.readdir(homeOf(folder, kind))
  return (kind === 'backup' ? names : names.map((name) => name.replace(/\.img$/, ''))).sort()
}

/** The place of what is needed; rejects where it is not there. */
export async function presentPlace({ disk, folder }: Backend, ref: Ref): Promise<string> {
  const place = placeOf(folder, ref)
  if (!(await exists(disk, place))) throw fail('missing', `${ref.kind} ${ref.id} is not at the backend`)
  return place
}

/** Makes the names in a folder durable: a rename or unlink is only done for good after this. */
export async function syncFolder(disk: Disk, path: string): Promise<void> {
  const handle = await disk.open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export async function exists(disk: Disk, path: string): Promise<boolean> {
  try {
    await disk.stat(path)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

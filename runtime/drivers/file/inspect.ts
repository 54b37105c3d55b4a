// Looks at a file driver's folder from outside, to compare files with rows. Changes nothing.

import * as fs from 'node:fs/promises'
import { idsAt, type Kind, placeOf } from './backend.ts'
import { hashImage } from './image.ts'
import { manifestOf, sha256 } from './manifest.ts'

/** The SHA-256 of a volume's or snapshot's image; of a backup, that of its manifest, which covers its chunks. */
export async function checksum(folder: string, kind: Kind, id: string): Promise<string> {
  const place = placeOf(folder, { kind, id })
  if (kind === 'backup') return sha256(await fs.readFile(manifestOf(place)))
  return hashImage({ folder, disk: fs, piece_bytes: 1 << 22 }, place, async () => undefined)
}

/** The ids present at the backend, sorted. What is half made or half removed is not present. */
export async function scan(folder: string): Promise<{ readonly [K in Kind]: readonly string[] }> {
  const backend = { folder, disk: fs }
  const [volume, snapshot, backup] = await Promise.all([
    idsAt(backend, 'volume'),
    idsAt(backend, 'snapshot'),
    idsAt(backend, 'backup'),
  ])
  return { volume, snapshot, backup }
}

// Moves a volume here from another backend, of whatever driver: its content comes as raw bytes, is verified
// in the image that was made of it, and takes its place as a whole. The rest is as with the file driver.

import { dirname, join } from 'node:path'
import type { JsonObject } from '../../../machines/row.ts'
import { underClaim } from '../file/claim.ts'
import { hashImage, sizeOf } from '../file/image.ts'
import { arrive, copyExported, nameOf } from '../file/migration.ts'
import { contentDisk } from './content.ts'
import { failed } from './error.ts'
import { type Bench, makeOfRaw, partOf } from './image.ts'

/** Running it again copies again: nothing but its source says what the volume holds. */
export async function migrateVolume(bench: Bench): Promise<JsonObject> {
  const { backend, tool, context } = bench
  const { row, source, signal } = context
  if (source === null) throw failed('missing', `migrate of volume ${row.id} was given no source`)
  return underClaim(backend, context, [], async (claim) => {
    const place = await nameOf(backend)
    if (source.place === place)
      throw failed(
        'same_place',
        `volume ${row.id} would be moved from ${backend.folder} into the same folder`,
      )
    const copy = claim.work(row)
    const raw = join(dirname(copy), 'raw')
    await claim.step(0, 'copying')
    await copyExported(backend, source, raw, partOf(claim, 0, 0.5), signal)
    await makeOfRaw(bench, raw, copy, partOf(claim, 0.5, 0.2))
    const there = await source.checksum(signal)
    const contents = { ...backend, disk: contentDisk(backend, tool, signal, [copy]) }
    const verifying = partOf(claim, 0.7, 0.3)
    const here = await hashImage(contents, copy, (fraction) => verifying.step(fraction, 'verifying'))
    if (here !== there)
      throw failed(
        'checksum_mismatch',
        `the copy of volume ${row.id} has SHA-256 ${here}, its source ${there}`,
      )
    await arrive(backend, row, claim)
    return { size: sizeOf(source.bytes, row.data.size) }
  })
}

// Looks at a qemu driver's folder from outside, to compare images with rows. Changes nothing.

import * as fs from 'node:fs/promises'
import type { Kind } from '../file/backend.ts'
import { placeOf } from '../file/backend.ts'
import { hashImage } from '../file/image.ts'
import { checksum as fileChecksum } from '../file/inspect.ts'
import type { QemuBackend } from './chain.ts'
import { contentDisk } from './content.ts'
import { qemuImg } from './qemu_img.ts'

/** The SHA-256 of a volume's or snapshot's content as a guest sees it; of a backup, that of its manifest. */
export async function contentChecksum(
  folder: string,
  kind: Kind,
  id: string,
  command = 'qemu-img',
): Promise<string> {
  if (kind === 'backup') return fileChecksum(folder, kind, id)
  const backend: QemuBackend = { folder, disk: fs, piece_bytes: 1 << 22 }
  const contents = { ...backend, disk: contentDisk(backend, qemuImg(command)) }
  return hashImage(contents, placeOf(folder, { kind, id }), async () => undefined)
}

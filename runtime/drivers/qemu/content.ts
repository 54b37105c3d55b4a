// The content of an image as a guest sees it, read through its chain: where each part lies qemu-img tells,
// and the bytes are read from the files. So what the file driver does with raw images (backups, exports,
// checksums) works on these too: to it the content looks like a raw file.

import type { FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Disk, homeOf, placeOf } from '../file/backend.ts'
import { isErrno } from '../file/error.ts'
import { headerOf, MOST_TRIES, type QemuBackend, readHeader } from './chain.ts'
import { failed } from './error.ts'
import { FORMAT, type QemuImg } from './qemu_img.ts'

/** A disk on which images (and `more` of them, outside their folders) are their contents: flat, and as long. */
export function contentDisk(
  backend: QemuBackend,
  tool: QemuImg,
  signal?: AbortSignal,
  more: readonly string[] = [],
): Disk {
  const { disk, folder } = backend
  const homes = [homeOf(folder, 'volume'), homeOf(folder, 'snapshot')]
  const isImage = (path: unknown): path is string =>
    typeof path === 'string' && (homes.includes(dirname(path)) || more.includes(path))
  const stat = async (path: string) => {
    const [stat, { bytes }] = [await disk.stat(path), await readHeader(disk, path)]
    return Object.assign(stat, { size: bytes })
  }
  return {
    ...disk,
    open: (path, flags, mode) =>
      flags === 'r' && isImage(path)
        ? openContent(backend, tool, path, signal)
        : disk.open(path, flags, mode),
    stat: ((path: string, options?: object) =>
      isImage(path) ? stat(path) : disk.stat(path, options)) as Disk['stat'],
  }
}

interface Extent {
  readonly start: number
  readonly end: number
  /** The file of the chain that has it, and where; null where it reads as zero. */
  readonly data: { readonly depth: number; readonly offset: number } | null
}

/** The file system's handles stay on what they opened, whatever happens to the names: the content is of one moment. */
async function openContent(
  backend: QemuBackend,
  tool: QemuImg,
  place: string,
  signal: AbortSignal | undefined,
): Promise<FileHandle> {
  for (let tries = 0; ; tries++) {
    const files = await openChain(backend, place)
    try {
      const extents = await extentsOf(tool, place, signal)
      if (await isUnchanged(backend, files)) return contentHandle(files, extents)
      if (tries === MOST_TRIES) throw failed('busy', `the images below ${place} change all the time`)
    } catch (error) {
      await closeAll(files)
      // One that vanished meanwhile was merged into the one above it.
      if (tries === MOST_TRIES || !isErrno(error, 'ENOENT')) throw error
      continue
    }
    await closeAll(files)
  }
}

interface OpenFile {
  readonly path: string
  readonly handle: FileHandle
  readonly bytes: number
}

async function openChain({ disk, folder }: QemuBackend, place: string): Promise<OpenFile[]> {
  for (let tries = 0; ; tries++) {
    const files: OpenFile[] = []
    try {
      for (let path: string | null = place; path !== null; ) {
        const handle = await disk.open(path, 'r')
        files.push({ path, handle, bytes: 0 })
        const { bytes, backing } = await headerOf(handle, path)
        files[files.length - 1] = { path, handle, bytes }
        path = backing === null ? null : placeOf(folder, { kind: 'snapshot', id: backing })
      }
      return files
    } catch (error) {
      await closeAll(files)
      // Below the first, a missing one was merged into the one above it meanwhile.
      if (files.length === 0 || tries === MOST_TRIES || !isErrno(error, 'ENOENT')) throw error
    }
  }
}

async function isUnchanged({ disk }: QemuBackend, files: readonly OpenFile[]): Promise<boolean> {
  for (const { path, handle } of files) {
    const opened = await handle.stat()
    const named = await disk.stat(path).catch((error) => {
      if (isErrno(error, 'ENOENT')) return null
      throw error
    })
    if (named?.ino !== opened.ino) return false
  }
  return true
}

async function extentsOf(tool: QemuImg, place: string, signal?: AbortSignal): Promise<Extent[]> {
  const told = await tool.run(['map', '-f', FORMAT, '--output=json', place], { signal })
  const extents = JSON.parse(told) as {
    start: number
    length: number
    depth: number
    zero: boolean
    data: boolean
    offset?: number
  }[]
  return extents.map(({ start, length, depth, zero, data, offset }) => {
    const end = start + length
    if (zero || !data) return { start, end, data: null }
    if (offset === undefined) throw failed('bad_image', `${place} is compressed at byte ${start}`)
    return { start, end, data: { depth, offset } }
  })
}

/** What readers of raw images use of a handle. */
function contentHandle(files: readonly OpenFile[], extents: readonly Extent[]): FileHandle {
  const handle = {
    stat: async () => ({ size: files[0]!.bytes }),
    async read(buffer: Buffer, offset: number, length: number, position: number) {
      const least = Math.min(length, files[0]!.bytes - position)
      if (least <= 0) return { bytesRead: 0, buffer }
      const end = position + least
      buffer.fill(0, offset, offset + least)
      for (let at = firstAt(extents, position); at < extents.length; at++) {
        const extent = extents[at]!
        if (extent.start >= end) break
        if (extent.data === null) continue
        const from = Math.max(extent.start, position)
        const to = Math.min(extent.end, end)
        const part = buffer.subarray(offset + from - position, offset + to - position)
        await fill(files[extent.data.depth]!.handle, part, extent.data.offset + from - extent.start)
      }
      return { bytesRead: least, buffer }
    },
    close: () => closeAll(files),
  }
  return handle as unknown as FileHandle
}

/** The index of the first extent that ends beyond `position`. */
function firstAt(extents: readonly Extent[], position: number): number {
  let low = 0
  let high = extents.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (extents[middle]!.end > position) high = middle
    else low = middle + 1
  }
  return low
}

/** Beyond the end of the file, a part that was given space and never written reads as zero. */
async function fill(handle: FileHandle, part: Buffer, position: number): Promise<void> {
  for (let done = 0; done < part.length; ) {
    const { bytesRead } = await handle.read(part, done, part.length - done, position + done)
    if (bytesRead === 0) return
    done += bytesRead
  }
}

async function closeAll(files: readonly OpenFile[]): Promise<void> {
  for (const { handle } of files) await handle.close()
}

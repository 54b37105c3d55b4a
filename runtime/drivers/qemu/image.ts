// Makes and changes single images with qemu-img, in the work folder of a claim where it can be. What is made
// is synced before it is published, so qemu-img's own cache may be what it likes.

import { dirname, join } from 'node:path'
import type { DriverContext } from '../../driver.ts'
import { syncFolder } from '../file/backend.ts'
import type { Claim } from '../file/claim.ts'
import { copyImage } from '../file/image.ts'
import { backingName, makeHomes, pinChain, type QemuBackend, readHeader } from './chain.ts'
import { failed } from './error.ts'
import { FORMAT, type QemuImg } from './qemu_img.ts'

/** What a method works with: the backend, qemu-img, and the claim's signal and progress. */
export interface Bench {
  readonly backend: QemuBackend
  readonly tool: QemuImg
  readonly context: DriverContext
}

/** The claim with its progress as a part of the whole operation's. */
export function partOf(claim: Claim, from: number, share: number): Claim {
  return { ...claim, step: (fraction, note) => claim.step(from + fraction * share, note) }
}

function run({ tool, context }: Bench, args: readonly string[]): Promise<string> {
  return tool.run(args, { signal: context.signal })
}

/** An image of nothing but zeros. */
export async function makeEmpty(bench: Bench, path: string, bytes: number): Promise<void> {
  await run(bench, ['create', '-q', '-f', FORMAT, path, String(bytes)])
  await syncFile(bench.backend, path)
}

/** An image that reads as the snapshot does. It need not be where its backing file's name leads to it. */
export async function makeOverlay(
  bench: Bench,
  path: string,
  snapshot_id: string,
  bytes: number,
): Promise<void> {
  const backing = ['-u', '-F', FORMAT, '-b', backingName(snapshot_id)]
  await run(bench, ['create', '-q', '-f', FORMAT, ...backing, path, String(bytes)])
  await syncFile(bench.backend, path)
}

/** A full copy of the image at `place`, which needs no other image; made at least `bytes` long. */
export async function makeCopy(
  bench: Bench,
  place: string,
  path: string,
  bytes: number,
  claim: Claim,
): Promise<void> {
  const { backend } = bench
  const home = join(dirname(path), 'source')
  await makeHomes(backend.disk, home)
  await convert(bench, FORMAT, await pinChain(backend, place, home), path, claim)
  await grow(bench, path, bytes)
}

/** An image with the content of a raw file. */
export async function makeOfRaw(bench: Bench, raw: string, path: string, claim: Claim): Promise<void> {
  await convert(bench, 'raw', raw, path, claim)
  await syncFile(bench.backend, path)
}

async function convert(
  bench: Bench,
  from_format: typeof FORMAT | 'raw',
  from: string,
  to: string,
  claim: Claim,
): Promise<void> {
  const { tool, context } = bench
  const step = (fraction: number) => claim.step(fraction, 'converting')
  await step(0)
  const args = ['convert', '-p', '-f', from_format, '-O', FORMAT, from, to]
  await tool.run(args, { signal: context.signal, step })
  await step(1)
}

/** Makes an image at least `bytes` long, in place, and tells how long it is. It never shrinks: not asked to. */
export async function grow(bench: Bench, path: string, bytes: number): Promise<number> {
  const header = await readHeader(bench.backend.disk, path)
  if (header.bytes < bytes) await run(bench, ['resize', '-q', '-f', FORMAT, path, String(bytes)])
  await syncFile(bench.backend, path)
  return Math.max(header.bytes, bytes)
}

/**
 * Makes `path` a copy of the image at `place`, which lies over a snapshot, with all of that snapshot that it
 * does not have itself: it reads the same, and lies over what the snapshot lies over.
 */
export async function makeMerged(
  bench: Bench,
  place: string,
  path: string,
  snapshot: string,
  claim: Claim,
): Promise<void> {
  const { backend } = bench
  const { disk } = backend
  const { backing } = await readHeader(disk, await pinChain(backend, snapshot, dirname(dirname(path))))
  await disk.rm(path, { force: true })
  await copyImage(backend, place, path, claim)
  const onto = backing === null ? ['-b', ''] : ['-F', FORMAT, '-b', backingName(backing)]
  await run(bench, ['rebase', '-q', '-f', FORMAT, ...onto, path])
  await syncFile(bench.backend, path)
}

/**
 * Rejects as `busy` while another process has the image open for writing: qemu-img then gets no lock on it.
 * What is opened right after this was answered is not seen; whoever starts a virtual machine attaches first.
 */
export async function refuseOpen(bench: Bench, place: string): Promise<void> {
  try {
    await run(bench, ['info', '-f', FORMAT, '--output=json', place])
  } catch (error) {
    if (isBusy(error))
      throw failed('busy', `${place} is open elsewhere, by a virtual machine most likely`, error)
    throw error
  }
}

function isBusy(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'busy'
}

/** Makes what any process wrote to the file durable. */
export function syncFile({ disk }: QemuBackend, path: string): Promise<void> {
  return syncFolder(disk, path)
}

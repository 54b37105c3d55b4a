// The few file operations the JSON store stands on, as an interface so that tests can lose, tear and refuse
// every one of them, and their node implementation. An operation either did all it says or rejects with the
// system's error (`code` is ENOSPC, EIO, ...); only `write` may do less. Nothing here decides.

import * as fs from 'node:fs'
import { takeFolder } from './lock.ts'

export interface OpenFile {
  /** One write of the system: how many of the bytes it took, one at least. On rejection it took none. */
  write(bytes: Uint8Array, position: number): Promise<number>
  truncate(size: number): Promise<void>
  /** What was written is on disk, with the size that is needed to read it back (fdatasync). */
  datasync(): Promise<void>
  /** The same with all metadata, so that a truncation is on disk too (fsync). */
  sync(): Promise<void>
  close(): Promise<void>
}

export interface FileSystem {
  /** Makes the folder and its parents; fine where it exists. */
  makeFolder(path: string): Promise<void>
  /** Names of the entries. Rejects with ENOTDIR where the path is a file. */
  readFolder(path: string): Promise<string[]>
  /** Names that were created, renamed or removed in the folder stay so after a crash. */
  syncFolder(path: string): Promise<void>
  readFile(path: string): Promise<Uint8Array>
  /** A new, empty file open for writing. A file of that name is emptied. */
  create(path: string): Promise<OpenFile>
  /** Replaces `to` if it exists, atomically. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Makes this process the owner of the folder, or rejects with `store_locked`. Resolves to the release. */
  own(path: string): Promise<() => Promise<void>>
  /** Lets everything else that waits for the event loop run first. */
  yield(): Promise<void>
}

/**
 * Makes a file with that content, or replaces it: a temporary file is written, synced and renamed, so a crash
 * leaves the file of before or the new one whole. The name is durable after the folder's sync.
 */
export async function replaceFile(fileSystem: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const file = await fileSystem.create(`${path}.tmp`)
  try {
    for (let written = 0; written < bytes.length; )
      written += await file.write(bytes.subarray(written), written)
    // Before the rename: else a crash could leave the name on a file without its content.
    await file.sync()
  } finally {
    await file.close()
  }
  await fileSystem.rename(`${path}.tmp`, path)
}

type Done = (error: NodeJS.ErrnoException | null) => void

// Callbacks on bare descriptors: half the cost of fs.promises in the path of every batch.
const run = (start: (done: Done) => void): Promise<void> =>
  new Promise((resolve, reject) => start((error) => (error === null ? resolve() : reject(error))))

const openDescriptor = (path: string, flags: string): Promise<number> =>
  new Promise((resolve, reject) =>
    fs.open(path, flags, 0o644, (error, descriptor) =>
      error === null ? resolve(descriptor) : reject(error),
    ),
  )

class NodeFile implements OpenFile {
  readonly #descriptor: number

  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  write(bytes: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) =>
      fs.write(this.#descriptor, bytes, 0, bytes.length, position, (error, written) =>
        error === null ? resolve(written) : reject(error),
      ),
    )
  }

  truncate(size: number): Promise<void> {
    return run((done) => fs.ftruncate(this.#descriptor, size, done))
  }

  datasync(): Promise<void> {
    return run((done) => fs.fdatasync(this.#descriptor, done))
  }

  sync(): Promise<void> {
    return run((done) => fs.fsync(this.#descriptor, done))
  }

  close(): Promise<void> {
    return run((done) => fs.close(this.#descriptor, done))
  }
}

export const nodeFileSystem: FileSystem = {
  async makeFolder(path) {
    await fs.promises.mkdir(path, { recursive: true })
  },
  readFolder: (path) => fs.promises.readdir(path),
  async syncFolder(path) {
    // Windows can't open a folder; NTFS journals its names by itself.
    if (process.platform === 'win32') return
    const folder = new NodeFile(await openDescriptor(path, 'r'))
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
  readFile: (path) => fs.promises.readFile(path),
  create: async (path) => new NodeFile(await openDescriptor(path, 'w')),
  rename: (from, to) => fs.promises.rename(from, to),
  remove: (path) => fs.promises.unlink(path),
  own: takeFolder,
  yield: () => new Promise((resolve) => setImmediate(resolve)),
}

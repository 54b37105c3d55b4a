// A disk in memory that is as bad as a disk may be: what was not synced is lost, kept or torn at a crash, a
// name is durable only after its folder's sync, and any operation can be made to fail. Asynchronous through
// promises alone, and every choice comes from one seed, so a run can be repeated. It may not be kinder than
// POSIX: the store has to be right on the worst disk, not on ext4.

import { basename, dirname } from 'node:path'
import { StoreError } from '../../store/error.ts'
import type { FileSystem, OpenFile } from '../../store/json/file_system.ts'

/** The least a disk writes whole. */
const SECTOR = 512

/** What the next crash makes of one write that was not synced: how many of its bytes stay, or which sectors. */
export type Fate = 'lost' | 'whole' | 'sectors' | { readonly first: number }

interface Write {
  readonly position: number
  readonly bytes: Uint8Array
}

interface Inode {
  /** What a crash leaves. */
  durable: Content
  /** What the processes see: the page cache. */
  current: Content
  /** Since the last sync, in order. */
  unsynced: (Write | { readonly truncate: number })[]
}

type Names = Map<string, Inode>

interface Folder {
  durable: Names
  current: Names
  /** Changes of names since the folder's last sync, in order. */
  unsynced: ((names: Names) => void)[]
}

export interface Fault {
  /** Counted from 1 over all operations of the disk. */
  readonly at: number
  /** `EIO` and the like; `die` ends the process at this operation: it and all later ones never return. */
  readonly code: string
  /** A write takes so many bytes first; the one that goes on with the rest fails. */
  readonly written?: number
}

export class FaultyDisk {
  readonly #random: () => number
  readonly #folders = new Map<string, Folder>()
  readonly #owners = new Set<string>()
  #faults: Fault[] = []
  /** Files whose last write was short, with the code that the next one meets. */
  readonly #cutShort = new Map<string, string>()
  /** Processes of before the last crash have another number; nothing they do has an effect. */
  #life = 0
  #died: () => void = () => {}
  /** One line for each operation, for messages and for choosing where to fail. */
  readonly operations: string[] = []
  /** How many turns of the promise queue an operation takes, at most. */
  slowness = 1

  constructor(seed: number) {
    this.#random = randomOf(seed)
  }

  /** The faults to come; those of before are forgotten. Resolves when a process dies by one of them. */
  plan(...faults: Fault[]): Promise<void> {
    this.#faults = faults
    this.#cutShort.clear()
    return new Promise((resolve) => {
      this.#died = resolve
    })
  }

  /** The process is killed: what it wrote is in the page cache, and its folders are free. */
  kill(): void {
    this.#life++
    this.#faults = []
    this.#cutShort.clear()
    this.#owners.clear()
  }

  /**
   * The power fails, in every process at once. Of each file and folder stays what was synced and any part of
   * the rest. `fate` decides for each write, instead of the seed.
   */
  crash(fate: (path: string) => Fate = () => this.#anyFate()): void {
    this.kill()
    for (const [path, folder] of this.#folders) {
      for (const change of folder.unsynced) if (this.#coin()) change(folder.durable)
      for (const [name, inode] of folder.durable) {
        this.#settle(inode, () => fate(`${path}/${name}`))
        inode.current = new Content(inode.durable.bytes())
      }
      folder.current = new Map(folder.durable)
      folder.unsynced = []
    }
  }

  /** A file as processes see it, to look at or to damage. */
  file(path: string): Uint8Array {
    return this.#inode(path).current.bytes()
  }

  /** Puts a file there, durable. */
  put(path: string, bytes: Uint8Array): void {
    const inode = { durable: new Content(bytes), current: new Content(bytes), unsynced: [] }
    const folder = this.#folder(dirname(path))
    folder.current.set(basename(path), inode)
    folder.durable.set(basename(path), inode)
  }

  /** Takes a file away, durably. */
  take(path: string): void {
    const folder = this.#folder(dirname(path))
    folder.current.delete(basename(path))
    folder.durable.delete(basename(path))
  }

  names(folder: string): string[] {
    return [...this.#folder(folder).current.keys()].sort()
  }

  /** The disk as one process sees it, until the next crash or kill. */
  fileSystem(): FileSystem {
    const life = this.#life
    const step = (name: string, path: string) => this.#step(life, name, path)
    return {
      makeFolder: async (path) => {
        await step('make folder', path)
        if (this.#folders.get(dirname(path))?.current.has(basename(path))) throw failure('EEXIST', path)
        // Its own name is durable at once: a folder that is lost has no rows.
        if (!this.#folders.has(path))
          this.#folders.set(path, { durable: new Map(), current: new Map(), unsynced: [] })
      },
      readFolder: async (path) => {
        await step('read folder', path)
        return this.names(path)
      },
      syncFolder: async (path) => {
        await step('sync folder', path)
        const folder = this.#folder(path)
        folder.durable = new Map(folder.current)
        folder.unsynced = []
      },
      readFile: async (path) => {
        await step('read', path)
        return this.#inode(path).current.bytes()
      },
      create: async (path) => {
        await step('create', path)
        const folder = this.#folder(dirname(path))
        const found = folder.current.get(basename(path))
        if (found !== undefined) truncate(found, 0)
        const inode = found ?? { durable: new Content(), current: new Content(), unsynced: [] }
        rename(folder, (names) => names.set(basename(path), inode))
        return this.#openFile(life, path, inode)
      },
      rename: async (from, to) => {
        await step('rename', `${from} to ${basename(to)}`)
        const inode = this.#inode(from)
        rename(this.#folder(dirname(to)), (names) => {
          names.delete(basename(from))
          names.set(basename(to), inode)
        })
      },
      remove: async (path) => {
        await step('remove', path)
        this.#inode(path)
        rename(this.#folder(dirname(path)), (names) => names.delete(basename(path)))
      },
      own: async (path) => {
        await step('own', path)
        if (this.#owners.has(path)) throw new StoreError('store_locked', `${path} is open already`)
        this.#owners.add(path)
        return async () => {
          if (life === this.#life) this.#owners.delete(path)
        }
      },
      yield: () => Promise.resolve(),
    }
  }

  #openFile(life: number, path: string, inode: Inode): OpenFile {
    const step = (name: string) => this.#step(life, name, path)
    const sync = async (name: string) => {
      try {
        await step(name)
      } catch (error) {
        // As Linux has it: some pages got there, none is tried again, and all are shown as clean.
        this.#settle(inode, () => this.#anyFate())
        throw error
      }
      for (const change of inode.unsynced) inode.durable.apply(change)
      inode.unsynced = []
    }
    return {
      write: async (bytes, position) => {
        const copy = bytes.slice()
        const dying = () => write(inode, { position, bytes: copy })
        const most = await this.#step(life, 'write', path, dying)
        write(inode, { position, bytes: copy.slice(0, most) })
        if (most >= copy.length) this.#cutShort.delete(path)
        return Math.min(most, copy.length)
      },
      truncate: async (size) => {
        await step('truncate')
        truncate(inode, size)
      },
      datasync: () => sync('datasync'),
      sync: () => sync('sync'),
      close: async () => {},
    }
  }

  /** Counts the operation and lets its fault happen; resolves to how much a write may take. What a dying process asked for may still reach the disk. */
  async #step(life: number, name: string, path: string, dying: () => void = () => {}): Promise<number> {
    if (life !== this.#life) return never()
    const at = this.operations.push(`${name} ${basename(path)}`)
    const fault = this.#faults.find((one) => one.at === at)
    for (let wait = Math.floor(this.#random() * this.slowness); wait >= 0; wait--) await Promise.resolve()
    if (life !== this.#life) return never()
    const rest = name === 'write' ? this.#cutShort.get(path) : undefined
    if (rest !== undefined) {
      this.#cutShort.delete(path)
      throw failure(rest, `${name} ${path}`)
    }
    if (fault === undefined) return Number.POSITIVE_INFINITY
    if (fault.code === 'die') {
      dying()
      this.#life++
      this.#died()
      return never()
    }
    if (name === 'write' && fault.written !== undefined && fault.written > 0) {
      this.#cutShort.set(path, fault.code)
      return fault.written
    }
    throw failure(fault.code, `${name} ${path}`)
  }

  #anyFate(): Fate {
    const choice = Math.floor(this.#random() * 4)
    if (choice < 3) return (['lost', 'whole', 'sectors'] as const)[choice]!
    return { first: Math.floor(this.#random() * 2_000) }
  }

  #coin(): boolean {
    return this.#random() < 0.5
  }

  /** Makes the durable content what was synced and a part of the rest. */
  #settle(inode: Inode, fate: () => Fate): void {
    for (const change of inode.unsynced) {
      if ('bytes' in change) for (const part of this.#partsOf(change, fate())) inode.durable.apply(part)
      else if (this.#coin()) inode.durable.apply(change)
    }
    inode.unsynced = []
  }

  #partsOf({ position, bytes }: Write, fate: Fate): Write[] {
    if (fate === 'lost') return []
    if (fate === 'whole') return [{ position, bytes }]
    if (fate !== 'sectors') return [{ position, bytes: bytes.subarray(0, fate.first) }]
    const kept: Write[] = []
    for (let start = 0; start < bytes.length; ) {
      const end = Math.min(start + SECTOR - ((position + start) % SECTOR), bytes.length)
      if (this.#coin()) kept.push({ position: position + start, bytes: bytes.subarray(start, end) })
      start = end
    }
    return kept
  }

  #folder(path: string): Folder {
    const folder = this.#folders.get(path)
    if (folder === undefined) {
      const isFile = this.#folders.get(dirname(path))?.current.has(basename(path))
      throw failure(isFile ? 'ENOTDIR' : 'ENOENT', path)
    }
    return folder
  }

  #inode(path: string): Inode {
    const inode = this.#folder(dirname(path)).current.get(basename(path))
    if (inode === undefined) throw failure('ENOENT', path)
    return inode
  }
}

function rename(folder: Folder, change: (names: Names) => void): void {
  change(folder.current)
  folder.unsynced.push(change)
}

function write(inode: Inode, change: Write): void {
  inode.current.apply(change)
  inode.unsynced.push(change)
}

function truncate(inode: Inode, size: number): void {
  inode.current.apply({ truncate: size })
  inode.unsynced.push({ truncate: size })
}

/** The bytes of a file. Changed in place, so that a change costs no more than its own length. */
class Content {
  #bytes: Uint8Array
  #size: number

  constructor(bytes: Uint8Array = new Uint8Array()) {
    this.#bytes = bytes.slice()
    this.#size = bytes.length
  }

  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#size)
  }

  apply(change: Write | { readonly truncate: number }): void {
    if ('truncate' in change) {
      this.#reserve(change.truncate)
      this.#bytes.fill(0, change.truncate)
      this.#size = change.truncate
    } else if (change.bytes.length > 0) {
      this.#reserve(change.position + change.bytes.length)
      this.#bytes.set(change.bytes, change.position)
      this.#size = Math.max(this.#size, change.position + change.bytes.length)
    }
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return
    const larger = new Uint8Array(size)
    larger.set(this.#bytes)
    this.#bytes = larger
  }
}

const failure = (code: string, what: string): Error => Object.assign(new Error(`${code}: ${what}`), { code })
const never = (): Promise<never> => new Promise(() => {})

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

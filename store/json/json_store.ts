// The JSON store: rows in memory, a journal that makes each transaction durable by group commit, and
// checkpoints that keep the journal short. This file decides what joins a batch, what conflicts and what a
// failure means. It may not show a row before the disk has it, and may not use timers.

import { resolve as absolute } from 'node:path'
import { StoreError } from '../error.ts'
import type { Feed } from '../feed.ts'
import { type Planned, plan } from '../plan.ts'
import type {
  Change,
  Commit,
  Committed,
  Conflict,
  Expectation,
  Filter,
  Key,
  Page,
  Store,
  StoredRow,
  StoreSource,
} from '../store.ts'
import type { Table } from '../table.ts'
import { type Manifest, removeUnused, writeCheckpoint } from './checkpoint.ts'
import { type FileSystem, nodeFileSystem } from './file_system.ts'
import { Lines, lineOf, Segment } from './journal.ts'
import { recover } from './recovery.ts'

export interface JsonStoreOptions {
  /**
   * A checkpoint begins when the journal since the last one has more bytes than this. Default: a quarter of
   * the last checkpoint, at least 16 MiB.
   */
  readonly checkpoint_bytes?: number
  /** Rows of a shard, about. Default 1,500. */
  readonly shard_rows?: number
  readonly file_system?: FileSystem
}

/**
 * A folder of JSON files that one process owns. Every transaction is on disk (fsync) when it resolves.
 * `open` rejects with `store_locked` while a living process owns the folder, `store_damaged` where bytes are
 * not what was written (nothing is then changed), `store_unusable` where the folder can't be used.
 */
export function jsonStore(folder: string, options: JsonStoreOptions = {}): StoreSource {
  const path = absolute(folder)
  let last: JsonStore | null = null
  return {
    name: folder,
    async open() {
      // A store that was lost may still be closing its files; it lets go of the folder after that.
      if (last?.ended) await last.released
      last = await openStore(path, options)
      return last
    },
  }
}

async function openStore(folder: string, options: JsonStoreOptions): Promise<JsonStore> {
  const fileSystem = options.file_system ?? nodeFileSystem
  const { recovered, release } = await recover(fileSystem, folder)
  return new JsonStore({
    fileSystem,
    folder,
    checkpointBytes: options.checkpoint_bytes,
    shardRows: options.shard_rows ?? 1_500,
    release,
    ...recovered,
  })
}

interface Opened {
  readonly fileSystem: FileSystem
  readonly folder: string
  readonly checkpointBytes: number | undefined
  readonly shardRows: number
  readonly release: () => Promise<void>
  readonly table: Table
  readonly feed: Feed
  readonly manifest: Manifest
  readonly segment: Segment
  /** Keys in the journal since the manifest, and how long that journal is. */
  readonly dirty: Set<Key>
  readonly journalBytes: number
}

/** One call of `transact` from its evaluation to its outcome. */
interface Transaction {
  /** Place in the order of the calls. */
  readonly order: number
  readonly expect: readonly Expectation[]
  readonly changes: readonly Planned[]
  resolve(outcome: Committed | Conflict): void
  reject(cause: unknown): void
}

/** A batch larger than this would hold the event loop; the rest goes with the next one. */
const BATCH_CHARACTERS = 1024 * 1024
const LEAST_CHECKPOINT = 16 * 1024 * 1024

class JsonStore implements Store {
  readonly exclusive = true
  readonly #fileSystem: FileSystem
  readonly #folder: string
  readonly #shardRows: number
  readonly #checkpointBytes: number | undefined
  readonly #release: () => Promise<void>

  readonly #table: Table
  readonly #feed: Feed
  readonly #lost = new Set<(cause: unknown) => void>()

  /** Transactions that will be written, in journal order; those being written are in `#batch`. */
  #queue: Transaction[] = []
  #batch: Transaction[] = []
  /** What the rows of `#batch` and `#queue` will be: the version, and the last transaction to change it. */
  readonly #pending = new Map<Key, { readonly version: number; readonly by: Transaction }>()
  /** Transactions that need a pending row to be durable before they can be judged, and the keys they touch. */
  #waiting: Transaction[] = []
  readonly #awaited = new Set<Key>()
  #calls = 0

  #segment: Segment
  readonly #lines = new Lines()
  #writing: Promise<void> | null = null
  /** A new segment that takes over as soon as no batch is being written. */
  #rotation: { readonly segment: Segment; readonly done: (offset: number) => void } | null = null

  #manifest: Manifest
  #checkpoints: number
  #checkpointing: Promise<void> | null = null
  #dirty: Set<Key>
  /** Bytes of journal since the last checkpoint began, and how many begin the next one. */
  #journalBytes: number
  #nextCheckpoint: number

  #end: StoreError | null = null
  #closing: Promise<void> | null = null
  #letGo!: () => void
  /** Resolves when another open can take the folder. */
  readonly released = new Promise<void>((resolve) => {
    this.#letGo = resolve
  })

  constructor(opened: Opened) {
    this.#fileSystem = opened.fileSystem
    this.#folder = opened.folder
    this.#checkpointBytes = opened.checkpointBytes
    this.#shardRows = opened.shardRows
    this.#release = opened.release
    this.#table = opened.table
    this.#feed = opened.feed
    this.#manifest = opened.manifest
    this.#checkpoints = opened.manifest.number
    this.#segment = opened.segment
    this.#dirty = opened.dirty
    this.#journalBytes = opened.journalBytes
    this.#nextCheckpoint = this.#threshold()
  }

  get ended(): boolean {
    return this.#end !== null
  }

  async get(key: Key): Promise<StoredRow | undefined> {
    this.#assertOpen()
    return this.#table.get(key)
  }

  async list(filter: Filter, page?: { after?: Key | null; limit?: number }): Promise<Page> {
    this.#assertOpen()
    return this.#table.list(filter, page)
  }

  async count(filter: Filter): Promise<number> {
    this.#assertOpen()
    return this.#table.count(filter)
  }

  offset(): number {
    return this.#feed.offset
  }

  watch(from: number, listener: (commit: Commit) => void): () => void {
    this.#assertOpen()
    return this.#feed.watch(from, listener)
  }

  onLost(listener: (cause: unknown) => void): void {
    this.#lost.add(listener)
  }

  /** Not an async function: one promise a transaction is all it takes. */
  transact(expect: readonly Expectation[], changes: readonly Change[]): Promise<Committed | Conflict> {
    return new Promise((resolve, reject) => {
      this.#assertOpen()
      this.#judge({ order: this.#calls++, expect, changes: plan(expect, changes), resolve, reject })
    })
  }

  /**
   * Compares with the durable rows under those that are about to be durable. What matches joins the queue:
   * the journal is one order, so it can only be durable if what it stands upon is. What does not match
   * because of a pending row waits for that row's batch, so that a conflict shows durable state only; and
   * whoever touches a row that somebody waits for waits behind, so that the order of the calls holds.
   */
  #judge(transaction: Transaction): void {
    const { expect, changes } = transaction
    let onPending = false
    let mismatched = false
    let mustWait = false
    for (const { key, version } of expect) {
      const pending = this.#pending.get(key)
      if (pending !== undefined) onPending = true
      if (this.#awaited.has(key)) mustWait = true
      else if (pending === undefined) mismatched ||= this.#table.version(key) !== version
      else if (pending.version !== version) mustWait = true
    }
    if (mismatched) transaction.resolve({ ok: false, conflicts: this.#conflicts(expect) })
    else if (mustWait) this.#wait(transaction)
    else if (changes.length > 0 || onPending) this.#enqueue(transaction)
    else transaction.resolve({ ok: true, offset: this.#feed.offset })
  }

  #wait(transaction: Transaction): void {
    this.#waiting.push(transaction)
    for (const { key } of transaction.expect) this.#awaited.add(key)
  }

  #enqueue(transaction: Transaction): void {
    this.#queue.push(transaction)
    for (const { key, version } of transaction.changes) this.#pending.set(key, { version, by: transaction })
    this.#writing ??= this.#writeBatches()
  }

  /** What differs among the rows that nobody is about to change. */
  #conflicts(expect: readonly Expectation[]): Conflict['conflicts'] {
    return expect
      .filter(({ key, version }) => !this.#pending.has(key) && this.#table.version(key) !== version)
      .map(({ key, version }) => ({ key, expected: version, found: this.#table.get(key) ?? null }))
  }

  /** Writes batch after batch while there are transactions: whoever came during one sync shares the next. */
  async #writeBatches(): Promise<void> {
    do {
      // Those who were just answered ask again before the next batch leaves.
      await this.#fileSystem.yield()
      this.#batch = this.#nextBatch()
      try {
        if (this.#lines.length > 0) await this.#segment.append(this.#lines)
      } catch (cause) {
        if (!(cause instanceof StoreError && cause.code === 'store_refused')) {
          this.#lose(cause)
          break
        }
        this.#refuse(cause)
        continue
      }
      this.#journalBytes += this.#lines.length
      this.#publish()
      this.#rotate()
      if (this.#journalBytes > this.#nextCheckpoint) this.#beginCheckpoint()
    } while (this.#queue.length > 0)
    this.#writing = null
    this.#rotate()
  }

  /** Takes transactions off the queue and encodes them. Offsets are given here: a refused batch uses none. */
  #nextBatch(): Transaction[] {
    const before = this.#feed.offset
    let offset = before
    let taken = 0
    let characters = 0
    this.#lines.clear()
    for (; taken < this.#queue.length && characters < BATCH_CHARACTERS; taken++) {
      const { changes } = this.#queue[taken]!
      if (changes.length === 0) continue
      const line = lineOf(++offset, before, changes)
      characters += line.length
      this.#lines.add(line)
    }
    return this.#queue.splice(0, taken)
  }

  /** The batch is on disk: its rows are seen, the feed tells, the callers hear, in this order, one by one. */
  #publish(): void {
    for (const transaction of this.#batch) {
      const { changes } = transaction
      if (changes.length > 0) {
        for (const { key, row } of changes) {
          this.#table.set(key, row)
          this.#dirty.add(key)
          if (this.#pending.get(key)?.by === transaction) this.#pending.delete(key)
        }
        this.#feed.add({
          offset: this.#feed.offset + 1,
          changes: changes.map(({ key, row }) => ({ key, row })),
        })
      }
      transaction.resolve({ ok: true, offset: this.#feed.offset })
    }
    this.#batch = []
    this.#judgeAgain(this.#takeWaiting())
  }

  /**
   * Nothing of the batch is on disk. What stood upon it was judged by rows that will not be, so everything
   * that is queued is judged again, in the order of the calls.
   */
  #refuse(cause: StoreError): void {
    const refused = this.#batch
    const again = [...this.#queue, ...this.#takeWaiting()].sort((a, b) => a.order - b.order)
    this.#batch = []
    this.#queue = []
    this.#pending.clear()
    for (const transaction of refused) transaction.reject(cause)
    this.#judgeAgain(again)
  }

  #takeWaiting(): Transaction[] {
    const waiting = this.#waiting
    this.#waiting = []
    this.#awaited.clear()
    return waiting
  }

  #judgeAgain(transactions: readonly Transaction[]): void {
    for (const transaction of transactions) this.#judge(transaction)
  }

  /** Nobody knows what is on disk: nothing is promised any more, and reopening decides. */
  #lose(cause: unknown): void {
    const lost =
      cause instanceof StoreError && cause.code === 'store_lost'
        ? cause
        : new StoreError('store_lost', `${this.#folder} is lost; open the store again`, { cause })
    this.#end = lost
    const unknown = [...this.#batch, ...this.#queue, ...this.#takeWaiting()]
    this.#batch = []
    this.#queue = []
    this.#pending.clear()
    this.#feed.end()
    for (const transaction of unknown) transaction.reject(lost)
    void this.#leave()
    for (const listener of this.#lost) {
      try {
        listener(lost)
      } catch {
        // The others are told all the same.
      }
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#end === null) {
      this.#end = new StoreError('store_lost', `${this.#folder} is closed`)
      while (this.#writing !== null) await this.#writing
      // Unless it was lost in the last batch, and is being left already.
      if (!this.#left) await this.#leave()
    }
    await this.released
  }

  #left = false

  /** Files first, the folder last: nobody else opens it while anything of ours may still be written. */
  async #leave(): Promise<void> {
    this.#left = true
    this.#feed.end()
    this.#rotate()
    await this.#checkpointing
    await this.#segment.close().catch(() => {})
    await this.#release()
    this.#letGo()
  }

  #assertOpen(): void {
    if (this.#end !== null) throw this.#end
  }

  #threshold(): number {
    if (this.#checkpointBytes !== undefined) return this.#checkpointBytes
    const bytes = this.#manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0)
    return Math.max(LEAST_CHECKPOINT, bytes / 4)
  }

  #beginCheckpoint(): void {
    this.#checkpointing ??= this.#checkpoint().finally(() => {
      this.#checkpointing = null
    })
  }

  /**
   * A failed checkpoint harms nobody: the journal has everything. It is tried again when the journal has
   * grown by as much once more, and then covers what the failed one should have.
   */
  async #checkpoint(): Promise<void> {
    let dirty = new Set<Key>()
    try {
      const { segment, offset } = await this.#newSegment()
      // Rows that changed since the rotation are written too: replaying them from the segment changes nothing.
      dirty = this.#dirty
      const journalBytes = this.#journalBytes
      this.#dirty = new Set()
      const manifest = await writeCheckpoint({
        fileSystem: this.#fileSystem,
        folder: this.#folder,
        table: this.#table,
        before: this.#manifest,
        number: ++this.#checkpoints,
        dirty,
        segment,
        offset,
        shardRows: this.#shardRows,
        goOn: () => this.#assertGoing(),
      })
      this.#manifest = manifest
      this.#journalBytes -= journalBytes
      this.#nextCheckpoint = this.#threshold()
      await removeUnused(this.#fileSystem, this.#folder, manifest).catch(() => {})
    } catch {
      for (const key of this.#dirty) dirty.add(key)
      this.#dirty = dirty
      this.#nextCheckpoint = this.#journalBytes + this.#threshold()
    }
  }

  /**
   * Makes the next segment while the journal goes on in this one, and resolves when it has taken over, with the
   * last commit before it.
   */
  async #newSegment(): Promise<{ segment: number; offset: number }> {
    const segment = await Segment.create(
      this.#fileSystem,
      this.#folder,
      this.#segment.number + 1,
      this.#feed.offset,
    )
    const offset = await new Promise<number>((done) => {
      this.#rotation = { segment, done }
      if (this.#writing === null) this.#rotate()
    })
    this.#assertGoing()
    return { segment: segment.number, offset }
  }

  /** Called where no batch is being written. */
  #rotate(): void {
    if (this.#rotation === null) return
    const { segment, done } = this.#rotation
    this.#rotation = null
    // All of the old segment is durable; closing it can't take that back.
    void this.#segment.close().catch(() => {})
    this.#segment = segment
    done(this.#feed.offset)
  }

  #assertGoing(): void {
    if (this.#left) throw this.#end
  }
}

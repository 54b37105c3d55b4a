// The journal: append-only segments, one line a transaction, `<crc32 in hex> <JSON>\n`. It makes bytes durable
// and tells what it read back; it knows nothing of versions or conflicts. A line that was acknowledged is
// never written over, and what can't be read back is never guessed.

import { join } from 'node:path'
import { StoreError } from '../error.ts'
import type { Planned } from '../plan.ts'
import type { Key, StoredRow } from '../store.ts'
import { checksumOf } from './checksum.ts'
import type { FileSystem, OpenFile } from './file_system.ts'

export const JOURNAL_VERSION = 1

/** Room is taken this far ahead, as zeros, so that a small batch's sync has no new size to write as well. */
const ROOM = 256 * 1024
const NEWLINE = 10
const SPACE = 32
/** The least a disk writes whole. */
const SECTOR = 512
/** `xxxxxxxx ` before the JSON of each line. */
const CHECKSUM = 9

export const segmentName = (segment: number): string => `journal-${String(segment).padStart(8, '0')}.jsonl`

export function segmentOf(name: string): number | null {
  const digits = /^journal-(\d{8,})\.jsonl$/.exec(name)?.[1]
  return digits === undefined ? null : Number(digits)
}

/** Lines of one batch, put together in one buffer that is used again for the next batch. */
export class Lines {
  #buffer = Buffer.allocUnsafeSlow(ROOM)
  #length = 0

  get length(): number {
    return this.#length
  }

  clear(): void {
    this.#length = 0
  }

  add(json: string): void {
    // A UTF-16 unit takes three bytes at most.
    this.#reserve(json.length * 3 + CHECKSUM + 1)
    const start = this.#length
    const end = start + CHECKSUM + this.#buffer.write(json, start + CHECKSUM, 'utf8')
    this.#buffer.write(`${checksumOf(this.#buffer.subarray(start + CHECKSUM, end))} `, start, 'latin1')
    this.#buffer[end] = NEWLINE
    this.#length = end + 1
  }

  /** The lines followed by that many zeros. Valid until the next `add` or `clear`. */
  bytes(zeros = 0): Buffer {
    this.#reserve(zeros)
    this.#buffer.fill(0, this.#length, this.#length + zeros)
    return this.#buffer.subarray(0, this.#length + zeros)
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(2 * (this.#length + more))
    this.#buffer.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
  }
}

/** Codes with which a system refuses a write that it has not tried, or not to the end, and stays healthy. */
const REFUSALS = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM', 'EFBIG'])

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** A segment open for appending. */
export class Segment {
  readonly number: number
  readonly #path: string
  readonly #file: OpenFile
  /** Where the next line goes: all before it is durable. */
  #size: number
  /** How far the file reaches, with the zeros behind the lines. */
  #room: number

  private constructor(number: number, path: string, file: OpenFile, size: number) {
    this.number = number
    this.#path = path
    this.#file = file
    this.#size = size
    this.#room = size
  }

  get size(): number {
    return this.#size
  }

  /**
   * An empty segment that is on disk under its name, for commits after `offset` (more may come before its
   * first line: they are in the segment before). It appears by rename, so its first line is never torn;
   * a crash before the rename leaves a temporary file that the next open ignores.
   */
  static async create(
    fileSystem: FileSystem,
    folder: string,
    number: number,
    offset: number,
  ): Promise<Segment> {
    const path = join(folder, segmentName(number))
    const lines = new Lines()
    lines.add(
      JSON.stringify({ format: 'rekindle journal', version: JOURNAL_VERSION, segment: number, offset }),
    )
    const file = await fileSystem.create(`${path}.tmp`)
    try {
      for (let written = 0; written < lines.length; )
        written += await file.write(lines.bytes().subarray(written), written)
      await file.sync()
      await fileSystem.rename(`${path}.tmp`, path)
      await fileSystem.syncFolder(folder)
    } catch (cause) {
      await file.close().catch(() => {})
      throw cause
    }
    return new Segment(number, path, file, lines.length)
  }

  /**
   * The lines are on disk when it resolves. Rejects with `store_refused` where they are surely not and the
   * segment is as before, and with `store_lost` where nobody knows.
   */
  async append(lines: Lines): Promise<void> {
    const end = this.#size + lines.length
    // A large batch pays for its size change anyway.
    const zeros = end > this.#room && lines.length < ROOM / 4 ? ROOM : 0
    const bytes = lines.bytes(zeros)
    let written = 0
    try {
      while (written < bytes.length)
        written += await this.#file.write(bytes.subarray(written), this.#size + written)
    } catch (cause) {
      return this.#takeBack(cause, written)
    }
    try {
      await this.#file.datasync()
    } catch (cause) {
      // The kernel may have dropped the pages and forgets the error: a second sync would lie.
      throw new StoreError(
        'store_lost',
        `can't sync ${this.#path}: ${messageOf(cause)}; open the store again`,
        {
          cause,
        },
      )
    }
    this.#size = end
    this.#room = Math.max(this.#room, end + zeros)
  }

  /**
   * What a refused batch has in the file already is cut off, and the cut is synced before anyone hears of the
   * refusal: else a crash could bring back a transaction that was refused.
   */
  async #takeBack(cause: unknown, written: number): Promise<never> {
    const refused = REFUSALS.has((cause as NodeJS.ErrnoException).code ?? '')
    if (refused && written > 0) {
      try {
        await this.#file.truncate(this.#size)
        await this.#file.sync()
        this.#room = this.#size
      } catch (second) {
        throw new StoreError(
          'store_lost',
          `${this.#path} took a part of a write (${messageOf(cause)}) and can't be cut back: ${messageOf(second)}; open the store again`,
          { cause: second },
        )
      }
    }
    throw new StoreError(
      refused ? 'store_refused' : 'store_lost',
      refused
        ? `nothing was written to ${this.#path}: ${messageOf(cause)}`
        : `a write to ${this.#path} failed: ${messageOf(cause)}; open the store again`,
      { cause },
    )
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

/** One transaction as a line has it. */
export interface JournalRecord {
  readonly offset: number
  /** The commit before the first of its batch. */
  readonly batch: number
  readonly changes: readonly ({ readonly put: StoredRow } | { readonly remove: Key })[]
}

/** The JSON of a `JournalRecord`, out of the texts that are there already. */
export function lineOf(offset: number, batch: number, changes: readonly Planned[]): string {
  let text = ''
  for (const { row, text: json } of changes)
    text += `${text === '' ? '' : ','}${row === null ? '{"remove":' : '{"put":'}${json}}`
  return `{"offset":${offset},"batch":${batch},"changes":[${text}]}`
}

/** What could be read of a segment. `end` is where the valid lines end; `rest` tells what lies behind. */
export interface Replayed {
  readonly end: number
  readonly offset: number
  readonly records: number
  /** Null where nothing but zeros follows; else where and what, for a message. */
  readonly torn: { readonly line: number; readonly byte: number } | null
}

/**
 * Reads the lines of one segment in order and gives each record to `apply`. Every record's offset follows the
 * one before, so a missing line, or a missing segment, can't go unseen.
 *
 * A line that can't be read is the torn end of a write that was never acknowledged if nothing valid follows
 * it. One more case is torn: a crash may keep a later sector of the last write and lose an earlier one.
 * Sectors that were never written are zeros, and JSON has none; so a bad line with such a hole in the last
 * batch was never whole on disk. Anything else that is followed by a valid line is damage.
 */
export async function replaySegment(
  name: string,
  bytes: Uint8Array,
  segment: number,
  after: number,
  apply: (record: JournalRecord) => void,
  pause: () => Promise<void>,
): Promise<Replayed> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let offset = after
  let line = 1
  let position = 0
  let records = 0
  for (; position < buffer.length; line++) {
    if (line % 1_000 === 0) await pause()
    const text = readLine(buffer, position)
    if (text === null) break
    const value = JSON.parse(text.json) as {
      version: number
      segment: number
      offset: number
    } & JournalRecord
    if (line === 1) checkHeader(name, value, segment, offset)
    else {
      if (value.offset !== offset + 1)
        throw damaged(name, line, position, `commit ${value.offset} follows commit ${offset}`)
      offset = value.offset
      records++
      apply(value)
    }
    position = text.end
  }
  if (line === 1) throw damaged(name, 1, 0, 'the first line is not readable')
  if (isZero(buffer, position)) return { end: position, offset, records, torn: null }
  assertTorn(name, buffer, position, line, offset)
  return { end: position, offset, records, torn: { line, byte: position } }
}

function checkHeader(
  name: string,
  header: { version: number; segment: number; offset: number },
  segment: number,
  offset: number,
): void {
  if (header.version > JOURNAL_VERSION)
    throw new StoreError(
      'store_unusable',
      `${name} has format version ${header.version}, this program reads up to ${JOURNAL_VERSION}; open it with a newer rekindle`,
    )
  if (header.segment !== segment)
    throw damaged(name, 1, 0, `it is segment ${header.segment} under a wrong name`)
  // A segment made by an attempt that failed later has an older offset, and no record; a newer one means that
  // commits between are gone.
  if (header.offset > offset)
    throw damaged(
      name,
      1,
      0,
      `it follows commit ${header.offset}, but the journal before it ends at ${offset}`,
    )
}

/** The line at that position if its checksum holds. */
function readLine(buffer: Buffer, start: number): { json: string; end: number } | null {
  const newline = buffer.indexOf(NEWLINE, start)
  if (newline < start + CHECKSUM) return null
  const body = buffer.subarray(start + CHECKSUM, newline)
  const expected = buffer.toString('latin1', start, start + CHECKSUM)
  if (`${checksumOf(body)} ` !== expected) return null
  return { json: body.toString('utf8'), end: newline + 1 }
}

function isZero(buffer: Buffer, from: number): boolean {
  for (let index = from; index < buffer.length; index++) if (buffer[index] !== 0) return false
  return true
}

/** Throws `store_damaged` unless what begins at `position` is the end of a write that never was acknowledged. */
function assertTorn(name: string, buffer: Buffer, position: number, line: number, offset: number): void {
  let next = nextLine(buffer, position + 1)
  const torn = next === null || hasHole(buffer, position, next.start)
  for (; next !== null; next = nextLine(buffer, next.end)) {
    const { batch } = JSON.parse(next.json) as Partial<JournalRecord>
    // `batch` is the commit before the first of the line's batch. If that is one we have read, the bad line
    // lies in the same batch, and that batch is the last: it was never synced as a whole.
    if (!torn || batch === undefined || batch > offset)
      throw damaged(name, line, position, 'the line is not what was written, and valid lines follow it')
  }
}

/** The first valid line that begins at `from` or behind. */
function nextLine(buffer: Buffer, from: number): { start: number; end: number; json: string } | null {
  for (let start = from; start + CHECKSUM < buffer.length; start++) {
    // A line begins after a newline, or where a sector that was never written ends.
    const before = buffer[start - 1]
    if ((before !== NEWLINE && before !== 0) || buffer[start + CHECKSUM - 1] !== SPACE) continue
    const line = readLine(buffer, start)
    if (line !== null) return { start, ...line }
  }
  return null
}

/** Whether a whole sector, as far as it lies behind `from`, is zeros. */
function hasHole(buffer: Buffer, from: number, to: number): boolean {
  for (let start = from; start < to; ) {
    const end = Math.min(start - (start % SECTOR) + SECTOR, to)
    if (buffer.subarray(start, end).every((byte) => byte === 0)) return true
    start = end
  }
  return false
}

export function damaged(name: string, line: number, byte: number, what: string): StoreError {
  return new StoreError(
    'store_damaged',
    `${name}, line ${line}, byte ${byte}: ${what}. Nothing was overwritten; put the folder back from a copy.`,
  )
}

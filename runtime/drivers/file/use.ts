// Who of this process reads an image or a backup right now, so that a delete can say that it is busy. It
// guards nothing: removing is a rename, and a reader that has a file open reads it to its end.

import { basename } from 'node:path'
import { fail } from './error.ts'

/** By place: the readers, as the signals that end them. */
const readers = new Map<string, Set<{ readonly signal: AbortSignal }>>()

/** Notes a reader of `place` until the returned function is called or its signal is aborted. */
export function beginReading(place: string, signal: AbortSignal): () => void {
  const reader = { signal }
  const here = readers.get(place) ?? new Set()
  readers.set(place, here.add(reader))
  return () => {
    if (here.delete(reader) && here.size === 0) readers.delete(place)
  }
}

/** Acts as a reader of `place`. */
export async function reading<T>(place: string, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
  const end = beginReading(place, signal)
  try {
    return await act()
  } finally {
    end()
  }
}

/** An aborted reader does not count: its claim is over, and it may never settle. */
export function refuseIfRead(place: string): void {
  for (const { signal } of readers.get(place) ?? [])
    if (!signal.aborted) throw fail('busy', `${basename(place)} is being read`)
}

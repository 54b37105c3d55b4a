// The change feed as server-sent events. `id:` is the offset of a commit and stands on its last event only,
// so a client that comes back with Last-Event-ID misses nothing; what it has seen of a torn commit it sees
// again. A client that reads too slowly is cut off and comes back where it was; it never costs memory.

import type { Environment, Runtime, RuntimeEvent, Timer } from '../index.ts'

export interface EventFilter {
  readonly kind?: string | undefined
  readonly id?: string | undefined
}

export interface StreamOptions {
  readonly environment: Environment
  /** After this offset; from now on where undefined. */
  readonly from: number | undefined
  readonly filter: EventFilter
  readonly heartbeat_ms: number
  /** Events that may wait for the client, besides those of the past. */
  readonly most_waiting: number
}

/** Rows of no interest to people: a node's beat every other second, a caller's request id. */
const QUIET: ReadonlySet<string> = new Set(['beat', 'request'])
/** Heartbeats that a client may leave unread. */
const MOST_UNREAD_BEATS = 4
const PIECE_CHARACTERS = 64 * 1024

export interface EventStream {
  readonly body: ReadableStream<Uint8Array>
  close(): void
}

/** Throws what `runtime.watch` throws. `onClose` is called once, however it ends. */
export function streamEvents(runtime: Runtime, options: StreamOptions, onClose: () => void): EventStream {
  const { environment, from, filter } = options
  const waiting: RuntimeEvent[] = []
  const encoder = new TextEncoder()
  const start = from ?? runtime.offset()
  let read = 0
  /** Everything up to here is in `waiting` or was told. */
  let seen = start
  let told = start
  let cut = false
  let beatDue = false
  let unreadBeats = 0
  let timer: Timer | null = null
  let wake: (() => void) | null = null

  const push = (event: RuntimeEvent) => {
    if (cut) return
    // Progress is for the moment: a client that is behind does without.
    if (event.type === 'progress') {
      if (waiting.length - read < 1_000 && wanted(event, filter)) waiting.push(event)
    } else {
      seen = event.offset
      if (wanted(event, filter)) waiting.push(event)
    }
    if (waiting.length - read > room) return close()
    if (wake !== null) {
      // After the commit's last change: its changes are told in one go.
      const pull = wake
      wake = null
      queueMicrotask(pull)
    }
  }
  let room = Number.POSITIVE_INFINITY
  const stop = runtime.watch(push, from === undefined ? {} : { from })
  room = waiting.length + options.most_waiting

  let end: () => void = () => {}
  function close(): void {
    if (cut) return
    cut = true
    stop()
    timer?.clear()
    wake?.()
    end()
    onClose()
  }

  const nextPiece = (): string => {
    let text = ''
    while (read < waiting.length && text.length < PIECE_CHARACTERS) {
      const event = waiting[read++]!
      const following = waiting[read]
      text += `event: ${event.type}\ndata: ${JSON.stringify(event)}\n`
      if (event.type === 'change') {
        const isLast =
          following === undefined || following.type !== 'change' || following.offset !== event.offset
        if (isLast) {
          told = event.offset
          text += `id: ${told}\n`
        }
      }
      text += '\n'
    }
    if (read === waiting.length) {
      waiting.length = 0
      read = 0
      // Commits that the filter left out count as told. An id alone is no event to the client.
      if (told !== seen) {
        told = seen
        text += `id: ${told}\n\n`
      }
    } else if (read > 10_000) {
      waiting.splice(0, read)
      read = 0
    }
    if (beatDue) {
      beatDue = false
      text += ': still here\n\n'
    }
    return text
  }

  const beat = () => {
    if (beatDue && ++unreadBeats >= MOST_UNREAD_BEATS) return close()
    if (!beatDue) unreadBeats = 0
    beatDue = true
    timer = environment.timer(options.heartbeat_ms, beat)
    const pull = wake
    wake = null
    pull?.()
  }
  timer = environment.timer(options.heartbeat_ms, beat)

  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        // The place to come back to, even if nothing ever happens.
        controller.enqueue(encoder.encode(`retry: 1000\nid: ${start}\n\n`))
        end = () => {
          try {
            controller.close()
          } catch {
            // The client was faster.
          }
        }
      },
      async pull(controller) {
        while (!cut) {
          const piece = nextPiece()
          if (piece !== '') return controller.enqueue(encoder.encode(piece))
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        }
      },
      cancel: () => close(),
    },
    { highWaterMark: 1 },
  )
  return { body, close }
}

function wanted(event: RuntimeEvent, { kind, id }: EventFilter): boolean {
  const at = event.type === 'change' ? event.key.indexOf('/') : -1
  const of = event.type === 'change' ? event.key.slice(0, at) : event.kind
  if (kind === undefined ? QUIET.has(of) : of !== kind) return false
  return id === undefined || id === (event.type === 'change' ? event.key.slice(at + 1) : event.id)
}

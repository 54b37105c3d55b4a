// What a page is told, as server-sent events over one answer: `hello` with the last steps, `batch` with what
// changed, `pulse` once a second with what is no row (queues, capacity, the age of heartbeats), `caption` of a
// story. A page that comes back says the offset it had; a page that reads too slowly is cut off and comes back.

import type { ClusterStatus, Environment, NodeView, Runtime, Stuck, Timer } from '../index.ts'
import type { Batch, Recorder } from './recorder.ts'
import type { Step } from './step.ts'

export interface Hello {
  readonly offset: number
  /** Steps before this moment are not known. */
  readonly since: number
  readonly steps: readonly Step[]
  /** The page missed more than is kept: it reads its rows anew. */
  readonly is_anew: boolean
}

export interface Pulse {
  readonly at: number
  readonly offset: number
  readonly state: string
  readonly nodes: readonly (NodeView & { readonly beat_age_ms: number | null })[]
  readonly clusters: readonly ClusterStatus[]
  readonly stuck: readonly Stuck[]
}

export interface FeedPorts {
  readonly runtime: Runtime
  readonly recorder: Recorder
  readonly environment: Environment
  readonly caption: () => Caption | null
}

export interface Caption {
  readonly number: number
  readonly text: string
  readonly isLast: boolean
}

const PULSE_MS = 1_000
/** Steps of the past for a page that opens. */
const FIRST_STEPS = 2_000
/** Characters that may wait for a page before it is cut off. */
const MOST_WAITING = 32 * 1024 * 1024

export interface Feed {
  readonly body: ReadableStream<Uint8Array>
  close(): void
}

export function openFeed(ports: FeedPorts, from: number | null, onClose: () => void): Feed {
  const { recorder, environment } = ports
  const encoder = new TextEncoder()
  let waiting: string[] = []
  let length = 0
  let wake: (() => void) | null = null
  let isOver = false
  let timer: Timer | null = null
  let isAsking = false
  let captioned = 0

  const send = (event: string, data: unknown) => {
    if (isOver) return
    const text = `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
    waiting.push(text)
    length += text.length
    if (length > MOST_WAITING) return close()
    wake?.()
    wake = null
  }
  const unlisten = recorder.listen((batch: Batch) => send('batch', batch))

  function close(): void {
    if (isOver) return
    isOver = true
    unlisten()
    timer?.clear()
    wake?.()
    onClose()
  }

  const beat = async () => {
    if (isOver) return
    timer = environment.timer(PULSE_MS, () => void beat())
    const caption = ports.caption()
    if (caption !== null && caption.number !== captioned) {
      captioned = caption.number
      send('caption', caption)
    }
    // A page that does not read, or a store that does not answer, gathers no pulses.
    if (isAsking || waiting.length > 100) return
    isAsking = true
    try {
      send('pulse', await pulseOf(ports))
    } finally {
      isAsking = false
    }
  }

  const missed = from === null ? null : recorder.after(from)
  const hello: Hello = {
    ...{ offset: recorder.offset, since: recorder.since },
    steps: missed ?? recorder.last(FIRST_STEPS),
    is_anew: missed === null,
  }
  send('hello', hello)
  void beat()

  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        while (waiting.length === 0 && !isOver)
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        if (waiting.length > 0) controller.enqueue(encoder.encode(waiting.join('')))
        waiting = []
        length = 0
        if (isOver) controller.close()
      },
      cancel: () => close(),
    },
    { highWaterMark: 0 },
  )
  return { body, close }
}

/** While the store is lost only that is told. */
async function pulseOf({ runtime, recorder, environment }: FeedPorts): Promise<Pulse> {
  const at = environment.now()
  const common = { at, offset: recorder.offset }
  try {
    const [clusters, stuck] = await Promise.all([runtime.clusters(), runtime.stuck()])
    const nodes = runtime.nodes().map((node) => {
      const seen = recorder.beats.get(`${node.cluster}@${node.backend}@${node.host}`)
      return { ...node, beat_age_ms: seen === undefined ? null : at - seen }
    })
    return { ...common, state: runtime.state(), nodes, clusters, stuck: stuck.slice(0, 100) }
  } catch {
    return { ...common, state: runtime.state(), nodes: [], clusters: [], stuck: [] }
  }
}

// A trace as a space-time diagram in text: a column for each lane, time downward, arrows from lane to lane,
// the step that broke an invariant marked. It shows every event it is given, or says how many it left out.

import type { TraceEvent } from './trace.ts'

export interface DiagramOptions {
  /** Columns of the whole; what is told beside the lanes is wrapped into what they leave. Default 110. */
  readonly width?: number
  /**
   * The most events to show. Of a longer trace the beginning and what led to the violation (or to the end)
   * are kept, and a line says how many were left out. Default: all.
   */
  readonly most?: number
}

/** Lanes stand in this order, each sort by name; others keep the order in which they first appear. */
const sorts = ['client', 'api', 'supervisor', 'scheduler', 'store', 'mailbox', 'node', 'driver', 'backend']
const leastText = 36

/**
 * One line an event: its time, the lanes, what happened. `●` a step, `◆` a swap (its arrow ends at the
 * store), `├──▶` a message, `✗` at the end of an arrow: lost, `✗` in a lane: a fault, `┊` a lane that is
 * down, `○` its new beginning, `‼` the step that broke an invariant.
 *
 * @example
 * ```ts
 * const trace = new Trace(() => 5)
 * trace.add({ kind: 'message', lane: 'client', to: 'api', text: 'create volume' })
 * diagram(trace.events) // "  ms  client  api\n   5  ├───────▶       create volume\n"
 * ```
 */
export function diagram(trace: readonly TraceEvent[], options: DiagramOptions = {}): string {
  const width = options.width ?? 110
  const lanes = lanesOf(trace)
  const { kept, leftOut } = elided(trace, options.most ?? trace.length)
  const timeWidth = Math.max(2, ...[...kept].map(({ at }) => (at === null ? 0 : timeOf(at).length))) + 2
  const columns = columnsOf(lanes, width - timeWidth - leastText)
  const textWidth = Math.max(20, width - timeWidth - columns.total)
  const down = new Set<string>()
  const lines = headOf(lanes, columns, timeWidth)
  let told: number | null = null
  for (const event of trace) {
    const gap = leftOut.get(event.order)
    if (gap !== undefined) lines.push(`${' '.repeat(timeWidth + 2)}⋮ ${gap}`)
    if (kept.has(event)) {
      const time = event.at === null || event.at === told ? '' : timeOf(event.at)
      told = event.at
      const [first, ...rest] = wrapped(textOf(event), textWidth)
      const marks = marksOf(event, lanes, columns, down)
      lines.push(`${time.padStart(timeWidth - 2)}  ${marks}${first}`)
      if (event.kind === 'fault') follow(event, down)
      const still = lifelines(lanes, columns, down)
      for (const line of rest) lines.push(`${' '.repeat(timeWidth)}${still}${line}`)
    } else if (event.kind === 'fault') follow(event, down)
  }
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`
}

function timeOf(at: number): string {
  return String(Math.round(at))
}

function follow(event: TraceEvent & { kind: 'fault' }, down: Set<string>): void {
  if (event.lifeline === 'ends') down.add(event.lane)
  else if (event.lifeline === 'begins') down.delete(event.lane)
}

function lanesOf(trace: readonly TraceEvent[]): readonly string[] {
  const seen = new Set<string>()
  for (const event of trace) {
    seen.add(event.lane)
    if (event.kind === 'message') seen.add(event.to)
  }
  const appeared = [...seen]
  const sortOf = (lane: string) => {
    const sort = sorts.indexOf(lane.split(' ')[0]!)
    // What has no sort of its own stands where a node would.
    return sort === -1 ? sorts.indexOf('node') : sort
  }
  return appeared.toSorted((a, b) => {
    if (sortOf(a) !== sortOf(b)) return sortOf(a) - sortOf(b)
    const alike = a.split(' ')[0] === b.split(' ')[0]
    return alike ? a.localeCompare(b, 'en', { numeric: true }) : appeared.indexOf(a) - appeared.indexOf(b)
  })
}

interface Columns {
  /** By lane: where its line stands. */
  readonly at: ReadonlyMap<string, number>
  readonly total: number
  readonly width: number
}

/** Lanes share what is there; none is wider than its name needs, none narrower than an arrow. */
function columnsOf(lanes: readonly string[], room: number): Columns {
  const needed = Math.max(6, ...lanes.flatMap((lane) => lane.split(' ')).map((word) => word.length)) + 2
  const width = Math.max(3, Math.min(needed, Math.floor(room / Math.max(1, lanes.length))))
  return {
    at: new Map(lanes.map((lane, index) => [lane, index * width])),
    total: lanes.length * width,
    width,
  }
}

/** The names, a word a line. */
function headOf(lanes: readonly string[], { width }: Columns, timeWidth: number): string[] {
  const words = lanes.map((lane) => lane.split(' '))
  const height = Math.max(1, ...words.map((list) => list.length))
  return Array.from({ length: height }, (_, line) => {
    const cells = words.map((list) => (list[line] ?? '').slice(0, width - 1).padEnd(width))
    return `${(line === 0 ? 'ms' : '').padStart(timeWidth - 2)}  ${cells.join('')}`
  })
}

function lifelines(lanes: readonly string[], columns: Columns, down: ReadonlySet<string>): string {
  return lanes.map((lane) => (down.has(lane) ? '┊' : '│').padEnd(columns.width)).join('')
}

function marksOf(
  event: TraceEvent,
  lanes: readonly string[],
  columns: Columns,
  down: ReadonlySet<string>,
): string {
  const cells = [...lifelines(lanes, columns, down)]
  const from = columns.at.get(event.lane)!
  const to = targetOf(event, columns)
  if (to === null || to === from) cells[from] = markOf(event)
  else {
    const isRight = to > from
    const [left, right] = isRight ? [from, to] : [to, from]
    for (let at = left + 1; at < right; at++) cells[at] = cells[at] === ' ' ? '─' : '┼'
    cells[from] = isRight ? '├' : '┤'
    cells[to] = headMark(event, isRight)
  }
  return cells.join('')
}

function targetOf(event: TraceEvent, columns: Columns): number | null {
  if (event.kind === 'message') return columns.at.get(event.to)!
  if (event.kind === 'swap') return columns.at.get('store') ?? null
  return null
}

function headMark(event: TraceEvent, isRight: boolean): string {
  if (event.kind === 'swap') return '◆'
  if (event.kind === 'message' && event.fate === 'lost') return '✗'
  return isRight ? '▶' : '◀'
}

function markOf(event: TraceEvent): string {
  if (event.kind === 'swap') return '◆'
  if (event.kind === 'fault') return event.lifeline === 'begins' ? '○' : '✗'
  if (event.kind === 'violation') return '‼'
  return '●'
}

function textOf(event: TraceEvent): string {
  const text = event.text.replace(/\s+/g, ' ').trim()
  if (event.kind === 'swap') {
    const rows = `${event.key}: ${event.before ?? 'absent'} → ${event.after ?? 'absent'}`
    return text === '' ? rows : `${text} ${rows}`
  }
  if (event.kind === 'violation') return `VIOLATED ${event.invariant}: ${text}`
  if (event.kind === 'message' && event.fate !== undefined) return `${text} (${event.fate})`
  return text
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (let word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = ''
    }
    while (word.length > width) {
      lines.push(word.slice(0, width))
      word = word.slice(width)
    }
    line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

/** Which events are shown, and before which of the others a line stands that says how many are missing. */
function elided(
  trace: readonly TraceEvent[],
  most: number,
): { kept: ReadonlySet<TraceEvent>; leftOut: ReadonlyMap<number, string> } {
  const leftOut = new Map<number, string>()
  if (trace.length <= most) return { kept: new Set(trace), leftOut }
  const violation = trace.findIndex(({ kind }) => kind === 'violation')
  const end = violation === -1 ? trace.length : violation + 1
  const head = Math.min(Math.ceil(most / 3), end)
  const tail = Math.max(head, end - (most - head))
  if (tail > head) leftOut.set(trace[head]!.order, countOf(tail - head, 'event'))
  if (end < trace.length) leftOut.set(trace[end]!.order, countOf(trace.length - end, 'later event'))
  return { kept: new Set([...trace.slice(0, head), ...trace.slice(tail, end)]), leftOut }
}

function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'} left out`
}

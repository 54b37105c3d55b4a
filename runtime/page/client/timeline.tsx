// The space-time diagram of the last minutes: a lane for callers, schedulers and each node, time from left to
// right, a mark for each step, an arrow where a step sent something. It runs along, or stands still at a step that
// the whole page then shows.

import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { Brief, Step, World } from './model.ts'
import { clock } from './widgets.tsx'

const SPANS = { '30 s': 30_000, '2 min': 120_000, '10 min': 600_000 } as const
type Span = keyof typeof SPANS

const LANE = 26
const TOP = 8
/** More marks than that are one blur. */
const MOST_MARKS = 600

export function Timeline({ world }: { world: World }) {
  const [isOpen, setOpen] = useState(true)
  const [span, setSpan] = useState<Span>('30 s')
  const { cursor } = world
  const end = cursor?.at ?? Math.max(world.pulse?.at ?? 0, world.steps.at(-1)?.at ?? 0)
  const onKey = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key]
    if (by === undefined && event.key !== ' ') return
    if ((event.target as HTMLElement).tagName === 'SELECT') return
    event.preventDefault()
    if (by !== undefined) world.move(by)
    else world.go(world.isPast ? null : (world.steps.at(-1) ?? null))
  }
  return (
    <section class={`timeline ${isOpen ? 'open' : ''}`} aria-label="Timeline" onKeyDown={onKey}>
      <div class="controls">
        <button type="button" class="quiet" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          Timeline
        </button>
        <button
          type="button"
          class="quiet"
          disabled={world.steps.length === 0}
          onClick={() => world.move(-1)}
          aria-label="One step back"
        >
          ‹
        </button>
        <button
          type="button"
          class="quiet"
          disabled={world.steps.length === 0}
          onClick={() => world.go(world.isPast ? null : (world.steps.at(-1) ?? null))}
        >
          {world.isPast ? 'Go on' : 'Pause'}
        </button>
        <button
          type="button"
          class="quiet"
          disabled={!world.isPast}
          onClick={() => world.move(1)}
          aria-label="One step forward"
        >
          ›
        </button>
        <input
          type="range"
          aria-label="Step that is shown"
          min={0}
          max={Math.max(0, world.steps.length - 1)}
          value={world.at}
          disabled={world.steps.length === 0}
          onInput={(event) => {
            const at = Number(event.currentTarget.value)
            world.go(at >= world.steps.length - 1 ? null : (world.steps[at] ?? null))
          }}
        />
        <label>
          <span class="hidden">Time shown</span>
          <select value={span} onChange={(event) => setSpan(event.currentTarget.value as Span)}>
            {Object.keys(SPANS).map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <p class="step">{sentence(cursor ?? world.steps.at(-1))}</p>
      </div>
      {isOpen && <Diagram world={world} end={end} span={SPANS[span]} />}
    </section>
  )
}

function sentence(step: Step | undefined): string {
  if (step === undefined) return 'Nothing has happened yet.'
  const name = step.row !== null && 'name' in step.row ? (step.row as Brief).name || step.row.id : ''
  return `${clock(step.at)} ${step.lane}: ${name} ${step.what}${step.reason === null ? '' : ` (${step.reason})`}`
}

function Diagram({ world, end, span }: { world: World; end: number; span: number }) {
  const box = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(800)
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(300, entry!.contentRect.width)))
    observer.observe(box.current!)
    return () => observer.disconnect()
  }, [])
  const start = end - span
  const shown: Step[] = []
  for (let i = world.at; i >= 0 && shown.length < MOST_MARKS; i--) {
    const step = world.steps[i]!
    if (step.at < start) break
    shown.push(step)
  }
  shown.reverse()
  const nodes = (world.pulse?.nodes ?? []).map(({ address }) => address)
  const lanes = [...new Set(['api', 'scheduler', ...nodes, ...shown.map(({ lane }) => lane)])]
  const y = (lane: string) => TOP + lanes.indexOf(lane) * LANE + LANE / 2
  const x = (at: number) => 10 + ((at - start) / span) * (width - 20)
  const height = TOP + lanes.length * LANE + 4
  // Where each row was touched last: the next one who touches it takes it over from there.
  const last = new Map<string, Step>()
  return (
    <div class="diagram" tabIndex={0} role="region" aria-label="Space-time diagram; scrolls">
      <div class="lanes" aria-hidden="true">
        {lanes.map((lane) => (
          <span key={lane}>{lane}</span>
        ))}
      </div>
      <div class="times" ref={box}>
        <svg
          viewBox={`0 0 ${width} ${height}`}
          width={width}
          height={height}
          role="img"
          aria-label={`${shown.length} steps until ${clock(end)}`}
        >
          {lanes.map((lane) => (
            <line key={lane} class="lane" x1={0} x2={width} y1={y(lane)} y2={y(lane)} />
          ))}
          {shown.map((step) => {
            const before = last.get(step.key)
            last.set(step.key, step)
            const from = before !== undefined && before.lane !== step.lane ? before : null
            return (
              <g key={`${step.offset} ${step.key}`} class={markOf(step)}>
                {from !== null && (
                  <line class="message" x1={x(from.at)} y1={y(from.lane)} x2={x(step.at)} y2={y(step.lane)} />
                )}
                <circle
                  cx={x(step.at)}
                  cy={y(step.lane)}
                  r={step === world.cursor ? 6 : 4}
                  onClick={() => world.go(step)}
                >
                  <title>{sentence(step)}</title>
                </circle>
              </g>
            )
          })}
        </svg>
      </div>
    </div>
  )
}

function markOf(step: Step): string {
  if (step.key.startsWith('service/')) return /down$/.test(step.what) ? 'mark down' : 'mark node'
  if (/cleanup|put right|again/.test(step.what)) return 'mark cleanup'
  return step.row !== null && 'error' in step.row && (step.row as Brief).error !== null
    ? 'mark failed'
    : 'mark'
}

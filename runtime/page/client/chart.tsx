// A chart as a picture. The geometry comes ready from the server; here it is drawn, with counts in the states of
// a kind, or with the current state and the way there of one resource. Text only, never markup.

import { useEffect, useState } from 'preact/hooks'
import type { Geometry } from '../geometry.ts'
import { ask } from './api.ts'
import type { Kind } from './model.ts'
import { count, sortOf } from './widgets.tsx'

export interface ChartProps {
  readonly kind: Kind
  readonly query: string
  /** How many resources each status has. */
  readonly counts?: ReadonlyMap<string, number>
  /** The state it is in. */
  readonly current?: string
  /** States that it came through. */
  readonly visited?: ReadonlySet<string>
  readonly onPick?: (status: string) => void
  readonly label: string
}

const drawn = new Map<string, Geometry>()

export function Chart(props: ChartProps) {
  const { kind, query, counts, current, visited, onPick, label } = props
  const name = `${kind.kind} ${query}`
  const [geometry, setGeometry] = useState<Geometry | null>(drawn.get(name) ?? null)
  useEffect(() => {
    if (drawn.has(name)) return setGeometry(drawn.get(name)!)
    let isOver = false
    void ask<Geometry>('GET', `/page/chart/${kind.kind}?${query}`).then((said) => {
      if (!said.ok || isOver) return
      drawn.set(name, said.value)
      setGeometry(said.value)
    })
    return () => {
      isOver = true
    }
  }, [name])
  if (geometry === null) return <p class="chart waiting">Drawing the chart…</p>
  const { width, height, states, arrows, anywhere } = geometry
  const [status, inside] = (current ?? '').split('.')
  return (
    <div class="chart" tabIndex={0} role="region" aria-label={`${label}; scrolls`}>
      <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height} role="group" aria-label={label}>
        <defs>
          {(['plain', 'fault', 'taken'] as const).map((sort) => (
            <marker
              key={sort}
              id={`head-${sort}`}
              class={`head ${sort}`}
              viewBox="0 0 8 8"
              refX="7"
              refY="4"
              markerWidth="8"
              markerHeight="8"
              orient="auto-start-reverse"
            >
              <path d="M0 0.5 L8 4 L0 7.5 z" />
            </marker>
          ))}
        </defs>
        {states.map(({ id, x, y, width: w, height: h }) => {
          const number = counts?.get(id) ?? 0
          const sort = sortOf(kind, id)
          const isCurrent = status === id
          const below = isCurrent ? inside : counts ? count(number) : undefined
          const marks = [
            ...['state', sort, isCurrent && 'current', visited?.has(id) && 'visited', number > 0 && 'some'],
          ]
          const pick = onPick ? () => onPick(id) : undefined
          return (
            <g
              key={id}
              class={marks.filter(Boolean).join(' ')}
              {...(pick && {
                role: 'button',
                tabIndex: 0,
                onClick: pick,
                onKeyDown: (event: KeyboardEvent) => {
                  if (event.key !== 'Enter' && event.key !== ' ') return
                  event.preventDefault()
                  pick()
                },
              })}
            >
              <rect x={x} y={y} width={w} height={h} rx={sort === 'rest' || sort === 'fault' ? 16 : 5} />
              <text x={x + w / 2} y={below === undefined ? y + h / 2 + 4 : y + h / 2 - 3}>
                {id}
              </text>
              {below !== undefined && (
                <text class="count" x={x + w / 2} y={y + h / 2 + 13}>
                  {below}
                </text>
              )}
            </g>
          )
        })}
        {arrows.map(({ id, from, to, path, isBothWays, isFault, isCleanup, labels }) => {
          const isTaken = visited?.has(from) === true && visited.has(to)
          const sort = isTaken ? 'taken' : isFault ? 'fault' : 'plain'
          const head = `url(#head-${sort})`
          return (
            <g key={id} class={`arrow ${sort} ${isCleanup ? 'dashed' : ''}`}>
              <path d={path} marker-end={head} {...(isBothWays && { 'marker-start': head })} />
              {labels.map(({ x, y, lines }) => (
                <text key={`${x} ${y}`} x={x} y={y}>
                  {lines.map((line, i) => (
                    <tspan key={line} x={x} dy={i === 0 ? 0 : 13}>
                      {line}
                    </tspan>
                  ))}
                </text>
              ))}
            </g>
          )
        })}
      </svg>
      <p class="key">
        {anywhere.length > 0 && <>From almost any status: {anywhere.join(', ')}. </>}
        <span class="fault">Red</span>: a driver failed, or, dashed, its node went down.
      </p>
    </div>
  )
}

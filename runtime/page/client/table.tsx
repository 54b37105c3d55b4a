// The resources of a kind, a hundred thousand as smoothly as ten: only the rows on the screen exist. Filtering
// walks all rows once for each change of filter or rows, at most a few times a second when there are many.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Brief, Kind, World } from './model.ts'
import { age, Chip, count } from './widgets.tsx'

const ROW = 34
const SPARE = 8
/** Above so many rows a change waits for the next look. */
const MANY = 20_000
const LOOK_MS = 250

export interface Filters {
  readonly status: string
  readonly cluster: string
  readonly worker: string
  readonly text: string
}

export const noFilters: Filters = { status: '', cluster: '', worker: '', text: '' }

function filtered(rows: readonly Brief[], { status, cluster, worker, text }: Filters): Brief[] {
  const sought = text.trim().toLowerCase()
  const found: Brief[] = []
  // The newest first.
  for (let i = rows.length - 1; i >= 0; i--) {
    const row = rows[i]!
    if (status === '' ? row.status === 'gone' : row.status !== status) continue
    if (cluster !== '' && row.cluster !== cluster) continue
    if (worker !== '' && row.worker !== worker) continue
    if (sought !== '' && !row.name.toLowerCase().includes(sought) && !row.id.includes(sought)) continue
    found.push(row)
  }
  return found
}

/** The revision that is looked at: each one, or with many rows a few a second. */
function useLook(revision: number, size: number): number {
  const [look, setLook] = useState(revision)
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null)
  useEffect(() => {
    if (size < MANY || timer.current !== null) return
    timer.current = setTimeout(() => {
      timer.current = null
      setLook(revision)
    }, LOOK_MS)
  }, [revision])
  return size < MANY ? revision : look
}

export function Table(props: {
  world: World
  kind: Kind
  filters: Filters
  onFilters: (filters: Filters) => void
}) {
  const { world, kind, filters, onFilters } = props
  const all = world.rows(kind.kind)
  const look = useLook(world.revision, all.length)
  const rows = useMemo(() => filtered(all, filters), [look, filters, kind, world.loaded])
  const statuses = [...kind.rest, ...kind.transitional, ...kind.held]
  const [clusters, workers] = useMemo(() => {
    const topics = new Set<string>()
    const names = new Set<string>()
    for (const row of all) {
      topics.add(row.cluster)
      if (row.worker !== null) names.add(row.worker)
    }
    return [[...topics].sort(), [...names].sort()]
  }, [look, world.loaded])
  const set = (change: Partial<Filters>) => onFilters({ ...filters, ...change })
  const choice = (name: 'status' | 'cluster' | 'worker', values: readonly string[]) => (
    <label>
      {name}
      <select value={filters[name]} onChange={(event) => set({ [name]: event.currentTarget.value })}>
        <option value="">any</option>
        {[...new Set([...values, ...(filters[name] === '' ? [] : [filters[name]])])].map((value) => (
          <option key={value} value={value}>
            {value}
          </option>
        ))}
      </select>
    </label>
  )
  return (
    <section class="card table" aria-label={`All of ${kind.kind}`}>
      <div class="filters" role="search">
        <label>
          find
          <input
            type="search"
            placeholder="name or id"
            value={filters.text}
            onInput={(event) => set({ text: event.currentTarget.value })}
          />
        </label>
        {choice('status', [...statuses, 'gone'])}
        {choice('cluster', clusters)}
        {choice('worker', workers)}
        <p role="status">
          {count(rows.length)} of {count(all.length)}
        </p>
      </div>
      <Rows rows={rows} kind={kind} now={world.pulse?.at ?? 0} />
    </section>
  )
}

function Rows({ rows, kind, now }: { rows: readonly Brief[]; kind: Kind; now: number }) {
  const box = useRef<HTMLDivElement>(null)
  const [view, setView] = useState({ top: 0, height: 600 })
  const [focused, setFocused] = useState(0)
  useLayoutEffect(() => {
    const element = box.current!
    const measure = () => setView({ top: element.scrollTop, height: element.clientHeight })
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    element.addEventListener('scroll', measure, { passive: true })
    return () => {
      observer.disconnect()
      element.removeEventListener('scroll', measure)
    }
  }, [])
  const first = Math.max(0, Math.floor(view.top / ROW) - SPARE)
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + SPARE)
  const onKey = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor(view.height / ROW) - 1)
    const by = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -rows.length,
      End: rows.length,
    }[event.key]
    const row = rows[focused]
    if (event.key === 'Enter' && row !== undefined) location.hash = hrefOf(row)
    if (by === undefined) return
    event.preventDefault()
    const next = Math.min(rows.length - 1, Math.max(0, focused + by))
    setFocused(next)
    const element = box.current!
    if (next * ROW < element.scrollTop) element.scrollTop = next * ROW
    if ((next + 1) * ROW > element.scrollTop + element.clientHeight)
      element.scrollTop = (next + 1) * ROW - element.clientHeight
  }
  return (
    <div
      class="grid"
      role="grid"
      aria-label={kind.kind}
      aria-rowcount={rows.length + 1}
      aria-activedescendant={rows.length > 0 ? `row-${focused}` : undefined}
      tabIndex={0}
      onKeyDown={onKey}
    >
      <div class="head line" role="row" aria-rowindex={1}>
        {['name', 'status', 'worker', 'cluster', 'changed'].map((name) => (
          <span key={name} role="columnheader" class={name}>
            {name}
          </span>
        ))}
      </div>
      <div class="body" ref={box} role="presentation">
        <div class="all" role="presentation" style={{ height: `${rows.length * ROW}px` }}>
          {rows.slice(first, last).map((row, i) => {
            const index = first + i
            return (
              <div
                key={row.id}
                id={`row-${index}`}
                class={`line ${index === focused ? 'focused' : ''}`}
                role="row"
                aria-rowindex={index + 2}
                style={{ top: `${index * ROW}px` }}
              >
                <span role="gridcell" class="name">
                  <a href={hrefOf(row)} tabIndex={-1}>
                    {row.name || row.id}
                  </a>
                </span>
                <span role="gridcell" class="status">
                  <Chip kind={kind} status={row.status} />
                </span>
                <span role="gridcell" class="worker">
                  {row.worker ?? '–'}
                </span>
                <span role="gridcell" class="cluster">
                  {row.cluster}
                </span>
                <span role="gridcell" class="changed">
                  {age(Math.max(0, now - row.updated_at))}
                </span>
              </div>
            )
          })}
        </div>
      </div>
      {rows.length === 0 && (
        <p class="empty">
          None.{' '}
          {kind.operations.some(({ from }) => from.includes('new')) &&
            'Create one above, or change the filter.'}
        </p>
      )}
    </div>
  )
}

const hrefOf = ({ kind, id }: Brief) => `#/${kind}/${encodeURIComponent(id)}`

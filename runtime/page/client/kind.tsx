// One kind at a glance: its chart with how many resources each status has, all of them in one picture; a click on
// a state filters the table below. And a form that makes a new one.

import { useEffect, useState } from 'preact/hooks'
import { Chart } from './chart.tsx'
import type { World } from './model.ts'
import { Operate } from './operate.tsx'
import { type Filters, noFilters, Table } from './table.tsx'

export function KindPage(props: {
  world: World
  name: 'real' | 'story'
  kind: string
  status: string | null
}) {
  const { world, name, kind: wanted, status } = props
  const kind = world.kinds.find((known) => known.kind === wanted)
  const [filters, setFilters] = useState<Filters>(noFilters)
  const [isMaking, setMaking] = useState(false)
  useEffect(() => setFilters({ ...noFilters, status: status ?? '' }), [status])
  if (kind === undefined) return world.loaded ? <p>There is no kind called {wanted}.</p> : <p>Reading…</p>
  const make = kind.operations.find(({ from }) => from.includes('new'))
  const pick = (picked: string) => {
    location.hash =
      filters.status === picked ? `#/${kind.kind}` : `#/${kind.kind}?status=${encodeURIComponent(picked)}`
  }
  return (
    <>
      <div class="heading">
        <h1>{kind.kind}</h1>
        {make !== undefined && name === 'real' && (
          <button type="button" onClick={() => setMaking(true)}>
            New {kind.kind}
          </button>
        )}
      </div>
      <Chart
        kind={kind}
        query={name === 'story' ? 'world=story' : ''}
        counts={world.counts(kind.kind)}
        onPick={pick}
        label={`${kind.kind}: how many are in each status`}
      />
      <Table world={world} kind={kind} filters={filters} onFilters={setFilters} />
      {isMaking && make !== undefined && (
        <Operate
          kind={kind.kind}
          id={null}
          operation={make}
          onClose={() => setMaking(false)}
          onDone={(id) => {
            setMaking(false)
            location.hash = `#/${kind.kind}/${encodeURIComponent(id)}`
          }}
        />
      )}
    </>
  )
}

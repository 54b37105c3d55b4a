// One resource: its statechart with the current state lit and the way it took, every transition with time, who,
// fence and reason, and the operations that can be asked for now; those that can't say why.

import { useEffect, useState } from 'preact/hooks'
import { ask } from './api.ts'
import { Chart } from './chart.tsx'
import type { Brief, Operation, Step, World } from './model.ts'
import { Operate } from './operate.tsx'
import { Chip, clock } from './widgets.tsx'

interface FullRow {
  readonly data: Record<string, unknown>
  readonly previous_status: string | null
  readonly host: string | null
  readonly attempts: number
  readonly error: { readonly code: string; readonly message: string; readonly at: number } | null
  readonly operation: {
    readonly name: string
    readonly input: unknown
    readonly progress: { readonly fraction: number; readonly note: string } | null
    readonly cancel_requested_at: number | null
  } | null
  readonly version: number
}

export function ResourcePage(props: { world: World; name: 'real' | 'story'; kind: string; id: string }) {
  const { world, name, kind: wanted, id } = props
  const kind = world.kinds.find((known) => known.kind === wanted)
  const row = world.row(wanted, id)
  const query = name === 'story' ? 'world=story' : ''
  const [full, setFull] = useState<FullRow | null>(null)
  const [asked, setAsked] = useState<Operation | null>(null)
  const [said, setSaid] = useState<string | null>(null)
  const version = row?.version
  useEffect(() => {
    let isOver = false
    void ask<{ row: FullRow | null }>(
      'GET',
      `/page/resource/${wanted}/${encodeURIComponent(id)}?${query}`,
    ).then((answer) => {
      if (answer.ok && !isOver) setFull(answer.value.row)
    })
    return () => {
      isOver = true
    }
  }, [version, wanted, id])
  if (kind === undefined || row === null)
    return world.loaded ? (
      <p>
        There is no {wanted} with the id {id}
        {world.isPast ? ' at that moment' : ''}.
      </p>
    ) : (
      <p>Reading…</p>
    )
  const steps = world.stepsOf(`${wanted}/${id}`)
  const visited = new Set(
    steps.flatMap(({ row: after, before }) =>
      [after, before].flatMap((at) => (at ? [(at as Brief).path] : [])),
    ),
  )
  for (const path of [...visited]) visited.add(path.split('.')[0]!)
  const present = world.isPast ? null : full
  const cancel = async () => {
    const answer = await ask('POST', `/resources/${wanted}/${encodeURIComponent(id)}/cancel`)
    setSaid(answer.ok ? 'Cancelled, or asked to.' : answer.problem.message)
  }
  return (
    <>
      <p class="crumbs">
        <a href={`#/${wanted}`}>{wanted}</a> / <code>{id}</code>
      </p>
      <div class="heading">
        <h1>{row.name || id}</h1>
        <Chip kind={kind} status={row.status} />
      </div>
      <p class="said" role="status">
        {said}
      </p>
      {present?.error && (
        <p class="banner bad">
          <strong>{present.error.code}</strong> {present.error.message}
        </p>
      )}
      {present?.operation && (
        <div class="card running">
          <p>
            <strong>{present.operation.name}</strong>{' '}
            {row.incarnation === null
              ? `waits at ${row.worker ?? row.cluster}`
              : `runs at ${row.worker}, life ${row.incarnation}, fence ${row.fence}`}
            {present.operation.cancel_requested_at !== null && '; asked to cancel'}
          </p>
          {present.operation.progress !== null && (
            <p>
              <progress
                max={1}
                value={present.operation.progress.fraction}
                aria-label={`Progress of ${present.operation.name}`}
              />{' '}
              {Math.round(present.operation.progress.fraction * 100)} % {present.operation.progress.note}
            </p>
          )}
          {name === 'real' && (
            <button type="button" class="quiet" onClick={cancel}>
              Cancel {present.operation.name}
            </button>
          )}
        </div>
      )}
      {name === 'real' && !world.isPast && (
        <section aria-label="Operations" class="operations">
          {kind.operations
            .filter(({ from }) => !from.includes('new'))
            .map((operation) => {
              const why = whyNot(operation, row.status)
              return (
                <button
                  key={operation.name}
                  type="button"
                  class={`quiet ${operation.force ? 'bad' : ''}`}
                  aria-disabled={why !== null}
                  title={why ?? operation.description}
                  onClick={() => (why === null ? setAsked(operation) : setSaid(why))}
                >
                  {operation.name}
                </button>
              )
            })}
        </section>
      )}
      <Chart
        kind={kind}
        query={query}
        current={row.path}
        visited={visited}
        label={`The chart of ${wanted}; it is in ${row.path}`}
      />
      <div class="columns">
        <section class="card" aria-label="What happened">
          <h2>What happened</h2>
          <ol class="steps">
            {steps.toReversed().map((step) => (
              <Happened key={`${step.offset} ${step.what}`} step={step} world={world} />
            ))}
          </ol>
          {steps.length === 0 && <p>Nothing since {clock(world.since)}.</p>}
        </section>
        <section class="card" aria-label="The row">
          <h2>The row</h2>
          <Fields row={row} full={present} />
        </section>
      </div>
      {asked !== null && (
        <Operate
          kind={wanted}
          id={id}
          operation={asked}
          onClose={() => setAsked(null)}
          onDone={() => {
            setSaid(`${asked.name} is accepted.`)
            setAsked(null)
          }}
        />
      )}
    </>
  )
}

/** Why an operation can't be asked for now; what its guards say, the door tells when it is asked. */
function whyNot({ name, from }: Operation, status: string): string | null {
  if (status === 'gone') return `${name}: it is gone`
  if (from === 'any' || from.includes(status)) return null
  return `${name} is not for a resource that is ${status}; it has to be ${from.join(' or ')}`
}

function Happened({ step, world }: { step: Step; world: World }) {
  const after = step.row as Brief | null
  return (
    <li class={step === world.cursor ? 'current' : ''}>
      <button
        type="button"
        class="moment"
        onClick={() => world.go(step)}
        aria-label={`Look at ${clock(step.at)}, ${step.what}`}
      >
        {clock(step.at)}
      </button>
      <span>
        <strong>{step.what}</strong> <span class="by">by {step.lane}</span>
        {after !== null && (
          <small>
            {' '}
            fence {after.fence}, version {after.version}
          </small>
        )}
        {step.reason !== null && <small class="why"> {step.reason}</small>}
      </span>
    </li>
  )
}

function Fields({ row, full }: { row: Brief; full: FullRow | null }) {
  const fields: readonly [string, unknown][] = [
    ...(['status', 'path', 'worker', 'incarnation', 'cluster', 'fence', 'version'] as const).map(
      (name): [string, unknown] => [name, row[name]],
    ),
    ...(full === null
      ? []
      : ([
          ['previous_status', full.previous_status],
          ['last host', full.host],
          ['attempts', full.attempts],
          ...Object.entries(full.data).map(([name, value]): [string, unknown] => [`data.${name}`, value]),
        ] as [string, unknown][])),
  ]
  return (
    <dl class="fields">
      {fields.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            {value === null || value === undefined
              ? '–'
              : typeof value === 'object'
                ? JSON.stringify(value)
                : String(value)}
          </dd>
        </div>
      ))}
    </dl>
  )
}

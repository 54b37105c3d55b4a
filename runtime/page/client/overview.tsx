// Clusters and their nodes as they are: who is up, who works on what, how old each heartbeat is, what waits,
// what room there is; with the actions of an administrator, the hard ones asked twice.

import { useState } from 'preact/hooks'
import { ask } from './api.ts'
import type { Pulse, World } from './model.ts'
import { age, count, Dialog, sortOf } from './widgets.tsx'

type NodeNow = Pulse['nodes'][number]
type ClusterNow = Pulse['clusters'][number]

interface Asked {
  readonly title: string
  readonly text: string
  readonly button: string
  readonly run: () => void
}

export function Overview({ world, canAct }: { world: World; canAct: boolean }) {
  const [asked, setAsked] = useState<Asked | null>(null)
  const [said, setSaid] = useState<string | null>(null)
  const { pulse } = world
  const act = async (path: string, done: string) => {
    const answer = await ask('POST', path)
    setSaid(answer.ok ? done : answer.problem.message)
  }
  const confirmed = (title: string, text: string, button: string, path: string, done: string) =>
    setAsked({ title, text, button, run: () => void act(path, done) })
  return (
    <>
      <h1>Overview</h1>
      <p class="said" role="status">
        {said}
      </p>
      <section aria-label="Resources by kind" class="kinds">
        {world.kinds.map((kind) => {
          const counts = world.counts(kind.kind)
          const sum = { rest: 0, way: 0, held: 0, fault: 0, gone: 0 }
          for (const [status, number] of counts) sum[sortOf(kind, status)] += number
          return (
            <a key={kind.kind} class="card kind" href={`#/${kind.kind}`}>
              <h2>{kind.kind}</h2>
              <p class="big">{count(sum.rest + sum.way + sum.held + sum.fault)}</p>
              <p class="parts">
                <span class="rest">{count(sum.rest)} at rest</span>
                <span class="way">{count(sum.way)} on the way</span>
                {sum.held > 0 && <span class="held">{count(sum.held)} held</span>}
                {sum.fault > 0 && <span class="fault">{count(sum.fault)} in error</span>}
              </p>
            </a>
          )
        })}
      </section>
      {pulse === null && <p>Waiting for the first word of the nodes…</p>}
      {pulse?.clusters.map((cluster) => (
        <section key={cluster.topic} class="card cluster" aria-label={`Cluster ${cluster.topic}`}>
          <div class="heading">
            <h2>
              {cluster.topic} <ClusterMarks cluster={cluster} />
            </h2>
            <p>
              {count(cluster.queued)} queued
              <Capacity cluster={cluster} />
            </p>
            {canAct && <ClusterActions cluster={cluster} act={act} confirmed={confirmed} />}
          </div>
          <ul class="nodes">
            {pulse.nodes
              .filter((node) => `${node.cluster}@${node.backend}` === cluster.topic)
              .map((node) => (
                <NodeCard
                  key={node.address}
                  node={node}
                  world={world}
                  canAct={canAct}
                  act={act}
                  confirmed={confirmed}
                />
              ))}
          </ul>
        </section>
      ))}
      {pulse !== null && pulse.stuck.length > 0 && (
        <section class="card" aria-label="Stuck">
          <h2>Does not get on by itself</h2>
          <ul>
            {pulse.stuck.map(({ kind, id, reason, message }) => (
              <li key={`${kind}/${id}`}>
                <a href={`#/${kind}/${encodeURIComponent(id)}`}>
                  {kind} {id}
                </a>{' '}
                <strong>{reason.replaceAll('_', ' ')}</strong>: {message}
              </li>
            ))}
          </ul>
        </section>
      )}
      {asked !== null && (
        <Dialog title={asked.title} onClose={() => setAsked(null)}>
          <p>{asked.text}</p>
          <div class="row">
            <button
              type="button"
              class="bad"
              onClick={() => {
                asked.run()
                setAsked(null)
              }}
            >
              {asked.button}
            </button>
            <button type="button" class="quiet" onClick={() => setAsked(null)}>
              Leave it
            </button>
          </div>
        </Dialog>
      )}
    </>
  )
}

type Act = (path: string, done: string) => Promise<void>
type Confirmed = (title: string, text: string, button: string, path: string, done: string) => void

function ClusterMarks({ cluster }: { cluster: ClusterNow }) {
  const { up, disabled, frozen } = cluster as ClusterNow & { disabled?: boolean; frozen?: boolean }
  return (
    <>
      <span class={`mark ${up ? 'up' : 'down'}`}>{up ? 'up' : 'down'}</span>
      {disabled && <span class="mark away">disabled</span>}
      {frozen && <span class="mark away">frozen</span>}
    </>
  )
}

function Capacity({ cluster: { capabilities, topic } }: { cluster: ClusterNow }) {
  const total = capabilities?.total_gib ?? null
  const free = capabilities?.free_gib ?? null
  if (total === null || free === null || total <= 0) return null
  const used = Math.min(1, Math.max(0, 1 - free / total))
  return (
    <>
      {' · '}
      <meter aria-label={`Space taken at ${topic}`} min={0} max={1} high={0.9} value={used} />{' '}
      {Math.round(free).toLocaleString('en')} of {Math.round(total).toLocaleString('en')} GiB free
    </>
  )
}

function ClusterActions({
  cluster,
  act,
  confirmed,
}: {
  cluster: ClusterNow
  act: Act
  confirmed: Confirmed
}) {
  const { topic, disabled, frozen } = cluster as ClusterNow & { disabled?: boolean; frozen?: boolean }
  const path = `/clusters/${encodeURIComponent(topic)}`
  return (
    <div class="row">
      {frozen ? (
        <button type="button" class="quiet" onClick={() => act(`${path}/thaw`, `${topic} is thawed`)}>
          Thaw
        </button>
      ) : (
        <button
          type="button"
          class="quiet"
          onClick={() =>
            confirmed(
              `Freeze ${topic}?`,
              'Nothing new is placed there and nothing of it is deleted until it is thawed. What runs goes on.',
              'Freeze',
              `${path}/freeze`,
              `${topic} is frozen`,
            )
          }
        >
          Freeze
        </button>
      )}
      <button
        type="button"
        class="quiet"
        onClick={() =>
          disabled
            ? act(`${path}/enable`, `${topic} is enabled`)
            : act(`${path}/disable`, `${topic} is disabled: nothing new is placed there`)
        }
      >
        {disabled ? 'Enable' : 'Disable'}
      </button>
    </div>
  )
}

function NodeCard(props: { node: NodeNow; world: World; canAct: boolean; act: Act; confirmed: Confirmed }) {
  const { node, world, canAct, act, confirmed } = props
  const then = world.serviceThen(node.address)
  const isThen = then !== undefined
  const state = isThen ? (then?.state ?? 'not there') : (node.here?.state ?? node.state)
  const incarnation = isThen ? (then?.incarnation ?? 0) : node.incarnation
  const cleaned = isThen ? then?.cleanup_done === true : node.cleanup_done
  const isHere = node.here !== null
  const path = `/nodes/${encodeURIComponent(node.address)}`
  return (
    <li class={`node ${state}`}>
      <div class="heading">
        <h3>{node.host}</h3>
        <span
          class={`mark ${state === 'up' ? 'up' : state === 'down' || state === 'fenced' ? 'down' : 'away'}`}
        >
          {state}
        </span>
        {node.disabled && <span class="mark away">disabled</span>}
      </div>
      <dl>
        <dt>life</dt>
        <dd>
          {incarnation}
          {state === 'down' && (cleaned ? ', cleanup done' : ', cleanup goes on')}
        </dd>
        {!isThen && (
          <>
            <dt>heartbeat</dt>
            <dd>{node.beat_age_ms === null ? 'not seen yet' : age(node.beat_age_ms)}</dd>
          </>
        )}
        <dt>works on</dt>
        <dd>
          <Working node={node} world={world} />
        </dd>
        {node.given_up !== null && (
          <>
            <dt>given up</dt>
            <dd>{node.given_up}</dd>
          </>
        )}
      </dl>
      {canAct && (
        <div class="row">
          {isHere ? (
            <>
              <button
                type="button"
                class="quiet"
                onClick={() =>
                  confirmed(
                    `Drain ${node.host}?`,
                    'It finishes what it works on and takes nothing new, until it is started again.',
                    'Drain',
                    `${path}/drain`,
                    `${node.host} drains`,
                  )
                }
              >
                Drain
              </button>
              <button
                type="button"
                class="quiet bad"
                onClick={() =>
                  confirmed(
                    `Kill ${node.host}?`,
                    'It ends at once, as in a crash. Others put right what it works on.',
                    'Kill',
                    `${path}/kill`,
                    `${node.host} is killed`,
                  )
                }
              >
                Kill
              </button>
            </>
          ) : (
            <button type="button" class="quiet" onClick={() => act(`${path}/start`, `${node.host} starts`)}>
              Start
            </button>
          )}
          <button
            type="button"
            class="quiet"
            onClick={() =>
              node.disabled
                ? act(`${path}/enable`, `${node.host} is enabled`)
                : act(`${path}/disable`, `${node.host} is disabled: it claims nothing new`)
            }
          >
            {node.disabled ? 'Enable' : 'Disable'}
          </button>
        </div>
      )}
    </li>
  )
}

function Working({ node, world }: { node: NodeNow; world: World }) {
  const held = world.isPast
    ? world.kinds.flatMap(({ kind }) =>
        world.rows(kind).filter((row) => row.incarnation !== null && row.worker === node.address),
      )
    : (node.here?.working_on ?? [])
  if (held.length === 0) return <>nothing</>
  return (
    <>
      {held.slice(0, 4).map(({ kind, id }) => (
        <a key={id} href={`#/${kind}/${encodeURIComponent(id)}`} title={`${kind} ${id}`}>
          {world.row(kind, id)?.name || id.slice(-6)}
        </a>
      ))}
      {held.length > 4 && ` and ${count(held.length - 4)} more`}
    </>
  )
}

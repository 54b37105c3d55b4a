// A scheduler: sweeps on its own timer, lets its chart judge, and carries out what the chart asks for:
// declare down, put right, ring again. Any number may sweep at once; each step is a compare-and-swap.

import { type Actor, createActor } from 'xstate'
import type { Types } from '../machines/decision.ts'
import { live } from '../machines/live.ts'
import type { BeatRow, RequestRow, ResourceRow, ServiceRow } from '../machines/row.ts'
import type { Duty, SchedulerContext, schedulerChart } from '../machines/scheduler.ts'
import { closed, declaredDown } from '../machines/service.ts'
import { type Key, keyOf, type Store, type StoredRow } from '../store/store.ts'
import type { Calls } from './calls.ts'
import { cleanClaims, type Spared } from './cleanup.ts'
import type { Clock } from './clock.ts'
import type { Runner } from './commit.ts'
import type { Environment, Timer } from './environment.ts'
import { messageOf } from './error.ts'
import type { Logger } from './log.ts'
import { listAll } from './registration.ts'
import type { Settings } from './settings.ts'

export interface SchedulerPorts {
  readonly environment: Environment
  readonly clock: Clock
  readonly store: Store
  readonly types: Types
  readonly calls: Calls
  readonly spared: Spared
  readonly settings: Settings
  readonly runner: Runner
  readonly chart: typeof schedulerChart
  /** A sweep is over: what else is looked at from time to time. */
  readonly onSwept: () => void
  /** How many doorbells the topic's mailbox still takes; 0 where no node of this process consumes it. */
  readonly roomFor: (topic: string) => number
  /** About this scheduler. */
  readonly log: Logger
}

/** Rows that are past keeping are removed once in so many sweeps. */
const PURGE_EVERY = 60

export class Scheduler {
  readonly name: string
  readonly actor: Actor<typeof schedulerChart>
  readonly #ports: SchedulerPorts
  /** Where ringing again goes on, by topic: rows that can't be claimed now must not hide the others. */
  readonly #rung = new Map<string, Key | null>()
  #timer: Timer | null = null
  #sweeping: Promise<void> = Promise.resolve()
  #sweeps = 0
  #stopped = false

  constructor(name: string, ports: SchedulerPorts) {
    this.name = name
    this.#ports = ports
    let todo: readonly Duty[] = []
    this.actor = createActor(
      live(ports.chart, {
        carryOut: (_: unknown, params: { todo: readonly Duty[] }) => {
          todo = params.todo
        },
      }),
      { input: { sweep_ms: ports.settings.sweep_ms, down_after_ms: ports.settings.down_after_ms } },
    )
    this.actor.subscribe({ error: (error) => ports.log.error(messageOf(error)) })
    this.#takeTodo = () => {
      const taken = todo
      todo = []
      return taken
    }
  }

  readonly #takeTodo: () => readonly Duty[]

  start(): void {
    this.actor.start()
    this.#arm()
  }

  /** Resolves when a sweep under way is over. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.clear()
    await this.#sweeping
    this.actor.stop()
  }

  #arm(): void {
    if (this.#stopped) return
    this.#timer = this.#ports.environment.timer(this.#ports.settings.sweep_ms, () => {
      this.#sweeping = this.#sweep().catch((error: unknown) => {
        this.#ports.log.warn(`a sweep failed: ${messageOf(error)}`)
        // What it would have seen is unknown, so every count starts anew (rule R12).
        this.actor.send({ type: 'store.lost' })
      })
      void this.#sweeping.then(() => this.#arm())
    })
  }

  async #sweep(): Promise<void> {
    const { store, clock } = this.#ports
    const [services, beats] = await Promise.all([
      listAll<ServiceRow>(store, 'service'),
      listAll<BeatRow>(store, 'beat'),
    ])
    this.actor.send({ type: 'sweep', at: clock.now(), services, beats })
    for (const duty of this.#takeTodo()) {
      if (this.#stopped) return
      if (duty.type === 'mark_down') await this.#markDown(duty)
      else await this.#clean(duty)
    }
    for (const topic of Object.keys((this.actor.getSnapshot().context as SchedulerContext).clusters))
      await this.#ringAgain(topic)
    this.#ports.onSwept()
    if (this.#sweeps++ % PURGE_EVERY === 0) await this.#purge()
  }

  /** Marking down comes first: from this swap on, the node's claims and finishes are refused. */
  async #markDown({ service, beat }: Extract<Duty, { type: 'mark_down' }>): Promise<void> {
    const expect = [{ key: keyOf(service), version: service.version }]
    expect.push({ key: `beat/${service.id}`, version: beat?.version ?? 0 })
    const down = declaredDown(service) as unknown as StoredRow
    const result = await this.#ports.store.transact(expect, [{ put: down }])
    if (!result.ok) return
    this.#ports.runner.measures.downed(`${service.host}@${service.backend}`)
    this.#ports.log.warn(`${service.id} is down: its beat of life ${service.incarnation} stood still`, {
      node: `${service.host}@${service.backend}`,
      topic: `${service.cluster}@${service.backend}`,
      incarnation: service.incarnation,
    })
  }

  async #clean({ service, incarnation, close }: Extract<Duty, { type: 'clean' }>): Promise<void> {
    const worker = `${service.host}@${service.backend}`
    const cleaned = await cleanClaims(this.#ports, {
      worker,
      incarnation,
      at_backend: service.cleans_at_backend,
      reason: `${worker} went down`,
    })
    if (cleaned.put_right > 0)
      this.#ports.log.info(`put right ${cleaned.put_right} rows of ${worker}`, {
        node: worker,
        incarnation,
        rows: cleaned.put_right,
      })
    if (close && cleaned.left === 0) await this.#close(service)
  }

  /** Rule R6: cleanup_done for the incarnation seen down, still down, with every row of it put right. */
  async #close(service: ServiceRow): Promise<void> {
    const { store } = this.#ports
    const worker = `${service.host}@${service.backend}`
    const left = await store.count({ worker, taken: true, incarnation_up_to: service.incarnation })
    if (left > 0) return
    const next = closed(service)
    // Lost: another scheduler wrote it, or the node has started again and will be looked at anew.
    await store.transact(
      [{ key: keyOf(service), version: service.version }],
      [{ put: next as unknown as StoredRow }],
    )
  }

  /** Rule R3: the row is the message; a doorbell that was lost is rung again. */
  async #ringAgain(topic: string): Promise<void> {
    const limit = this.#ports.roomFor(topic)
    if (limit === 0) return
    const after = this.#rung.get(topic) ?? null
    const page = await this.#ports.store.list({ worker: topic, taken: false }, { after, limit })
    for (const row of page.rows) this.#ports.runner.ring(row as unknown as ResourceRow)
    this.#rung.set(topic, page.next)
  }

  async #purge(): Promise<void> {
    const { types, environment, settings } = this.#ports
    const now = environment.now()
    for (const kind of types.keys())
      await this.#removeWhere({ kind, status: 'gone' }, (row) => {
        const { updated_at, children } = row as unknown as ResourceRow
        return now - updated_at > settings.keep_gone_ms && Object.keys(children).length === 0
      })
    await this.#removeWhere({ kind: 'request' }, (row) => {
      const { settled } = row as unknown as RequestRow
      return settled !== null && now - settled.at > settings.keep_requests_ms
    })
  }

  async #removeWhere(
    filter: { kind: string; status?: string },
    past: (row: StoredRow) => boolean,
  ): Promise<void> {
    const { store } = this.#ports
    let after: Key | null = null
    do {
      const page: { rows: readonly StoredRow[]; next: Key | null } = await store.list(filter, {
        after,
        limit: 500,
      })
      const removals = page.rows
        .filter(past)
        .map((row) => store.transact([{ key: keyOf(row), version: row.version }], [{ remove: keyOf(row) }]))
      await Promise.all(removals)
      after = page.next
    } while (after !== null && !this.#stopped)
  }
}

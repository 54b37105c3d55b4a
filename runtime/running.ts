// The running runtime: one supervisor, one api, and a session for as long as the store holds. When the store
// is lost everything ends, and when it is back everything starts anew (rules R5, R8). It executes what the
// charts ask for and decides nothing itself.

import { type Actor, type AnyStateMachine, createActor } from 'xstate'
import { apiChart } from '../machines/api.ts'
import { checkTypes, type ResourceType } from '../machines/definition.ts'
import { nearest } from '../machines/error.ts'
import { live } from '../machines/live.ts'
import { nodeChart } from '../machines/node.ts'
import type { QuotaRow } from '../machines/quota.ts'
import { type ResourceRow, type ServiceRow, topicOfWork } from '../machines/row.ts'
import { schedulerChart } from '../machines/scheduler.ts'
import { type SupervisorContext, type SupervisorEvent, supervisorChart } from '../machines/supervisor.ts'
import { OWN_KINDS } from '../machines/table.ts'
import { StoreError } from '../store/error.ts'
import { type Commit, type Filter, type Key, keyOf, type Page, type Store } from '../store/store.ts'
import {
  type AcceptedRow,
  type AcceptOptions,
  type AcceptPorts,
  accept,
  checkId,
  refusal,
  typeOf,
  unknownId,
} from './accept.ts'
import { Administrator } from './administration.ts'
import type {
  Acceptance,
  Administration,
  Answer,
  ClusterStatus,
  Listed,
  ListOptions,
  NodeView,
  Runtime,
  RuntimeEvent,
  Stuck,
} from './api.ts'
import { Calls } from './calls.ts'
import { Spared } from './cleanup.ts'
import { type Clock, plainClock, turnClock } from './clock.ts'
import { commit, type Runner } from './commit.ts'
import { Directory } from './directory.ts'
import { type Environment, realEnvironment, type Timer } from './environment.ts'
import { messageOf, RekindleError, type RekindleErrorCode } from './error.ts'
import { fieldsOf, type LogFields, Logger } from './log.ts'
import { Mailbox } from './mailbox.ts'
import { type Measured, Measures, type Sample } from './measures.ts'
import { migrateOpened } from './migration.ts'
import { isPlaceName, isStoreTrouble, type NodeConfig, NodeLife, refFrom } from './node.ts'
import type { RuntimeOptions, Seams } from './options.ts'
import { PlacementPolicy } from './placement.ts'
import { type QuotaLimits, setLimits } from './quota.ts'
import { listAll, topicOf } from './registration.ts'
import { mark, Renamer } from './renaming.ts'
import { Scheduler } from './scheduler.ts'
import { type Settings, settingsFrom } from './settings.ts'
import { Turns } from './turns.ts'
import { Views } from './views.ts'
import { Waits } from './waits.ts'
import { Aborted } from './work.ts'

/** What lives as long as one opened store. */
interface Session {
  readonly store: Store
  readonly clock: Clock
  readonly directory: Directory
  readonly schedulers: readonly Scheduler[]
  readonly renamer: Renamer
  readonly lives: Map<string, NodeLife>
}

export class RunningRuntime implements Runtime {
  readonly settings: Settings
  readonly kinds: readonly ResourceType[]
  readonly #options: RuntimeOptions<readonly ResourceType[]>
  readonly #seams: Seams
  readonly #types: ReadonlyMap<string, ResourceType>
  readonly #placement: PlacementPolicy
  readonly #environment: Environment
  readonly #log: Logger
  readonly #configs = new Map<string, NodeConfig>()
  readonly #mailboxes = new Map<string, Mailbox>()
  /** The last incarnation of each node that ended in this process. */
  readonly #endedHere = new Map<string, number>()
  readonly #waits = new Waits()
  readonly #calls: Calls
  readonly #spared = new Spared()
  readonly #listeners = new Set<(event: RuntimeEvent) => void>()
  readonly #api: Actor<AnyStateMachine>
  readonly #supervisor: Actor<AnyStateMachine>
  readonly #timers = new Set<Timer>()
  readonly #runner: Runner
  readonly admin: Administration
  readonly #views: Views
  readonly #measures: Measures
  #session: Session | null = null
  /** The last commit that was told to listeners and waits; null before the first. */
  #seenOffset: number | null = null
  /** The store being opened again; a stop waits for it, so as to let go of what it opens. */
  #opening: Promise<void> = Promise.resolve()
  /** Lives that have begun to start and are neither up nor over. */
  #starting: ((life: NodeLife) => void) | null = null
  #stopping: Promise<void> | null = null
  /** Calls that are being answered; a stop waits for them. */
  #callsUnderWay = 0
  #idle: (() => void) | null = null

  constructor(options: RuntimeOptions<readonly ResourceType[]>, seams: Seams) {
    this.#options = options
    this.#log = new Logger(options.log)
    this.#seams = seams
    this.settings = settingsFrom(options.settings ?? {})
    this.kinds = options.resources
    this.#types = checkTypes(options.resources)
    for (const kind of this.#types.keys())
      if (kind in RunningRuntime.prototype || ['settings', 'kinds', 'admin'].includes(kind))
        throw new RekindleError(
          'bad_settings',
          `a resource can't be named '${kind}': the runtime has a member of that name`,
        )
    this.#placement = new PlacementPolicy(this.#types, options.placement)
    this.#environment = options.environment ?? realEnvironment()
    const topics: Record<string, string> = {}
    for (const config of options.nodes) {
      const address = `${config.host}@${config.backend}`
      checkNode(config)
      if (this.#configs.has(address))
        throw new RekindleError(
          'node_running',
          `two nodes are given as ${address}: every node of a backend needs its own host`,
        )
      const topic = `${config.cluster ?? config.host}@${config.backend}`
      this.#configs.set(address, config)
      topics[address] = topic
      if (!this.#mailboxes.has(topic))
        this.#mailboxes.set(
          topic,
          (seams.mailboxFor ?? ((_, capacity) => new Mailbox(capacity)))(topic, this.settings.mailbox),
        )
    }
    this.#measures = new Measures(this.#types, () => this.#environment.monotonic())
    this.#runner = {
      turns: new Turns(),
      measures: this.#measures,
      ring: (row) => this.#supervise({ type: 'ring', topic: topicOfWork(row), key: keyOf(row) }),
      abort: (row) =>
        this.#calls.abortUpTo(keyOf(row), row.fence, new Aborted('cancelled', 'it was cancelled or forced')),
    }
    this.#calls = new Calls(
      () => this.#environment.now(),
      // A leftover call that settles may make its resource claimable again: ring at once.
      (key) => void this.#ringIfQueued(key),
    )
    this.#views = new Views({
      environment: this.#environment,
      settings: this.settings,
      calls: this.#calls,
      types: this.#types,
      session: () => this.#sessionOrThrow(),
      givenUp: (address) =>
        (this.#supervisor.getSnapshot().context as SupervisorContext).nodes[address]?.given_up ?? null,
    })
    this.admin = new Administrator({
      call: (run) =>
        this.#call(({ types, store, runner, environment }) =>
          run({
            types,
            store,
            runner,
            environment,
            calls: this.#calls,
            spared: this.#spared,
            settings: this.settings,
            log: this.#log,
          }),
        ),
      rename: () => this.#sessionOrThrow().renamer.go(),
      views: this.#views,
      log: this.#log,
    })
    this.#api = createActor(apiChart)
    this.#supervisor = createActor(
      live(seams.charts?.supervisor ?? supervisorChart, {
        post: (_: unknown, { topic, key }: { topic: string; key: string }) =>
          this.#mailboxes.get(topic)?.put(key),
        // After the step that asked for it: an actor is not made inside another one's action.
        startNode: (_: unknown, { address }: { address: string }) =>
          queueMicrotask(() => this.#startNode(address)),
        startAll: () => {
          for (const address of this.#configs.keys()) queueMicrotask(() => this.#startNode(address))
        },
      }),
      {
        input: {
          nodes: topics,
          intensity: this.settings.restarts,
          period_ms: this.settings.restarts_within_ms,
        },
      },
    )
    for (const actor of [this.#api, this.#supervisor])
      actor.subscribe({ error: (error) => this.#log.error(`broken: ${messageOf(error)}`) })
  }

  // ---- start, loss of the store, stop ----

  async start(): Promise<void> {
    await this.#open()
    const refused: string[] = []
    let code: RekindleErrorCode = 'node_running'
    const settled = new Promise<void>((resolve) => {
      const waiting = new Set(this.#configs.keys())
      if (waiting.size === 0) resolve()
      this.#starting = (life) => {
        if (life.state === 'refused') refused.push(life.context.reason ?? '')
        if (life.registration.hasOldName) code = 'bad_settings'
        waiting.delete(life.address)
        if (waiting.size === 0) resolve()
      }
    })
    this.#api.start()
    this.#supervisor.start()
    await settled
    this.#starting = null
    if (refused.length > 0) {
      await this.stop({ within_ms: 0 })
      throw new RekindleError(code, refused.join('; '))
    }
    await this.#includeStandalone().catch((error: unknown) => {
      this.#log.warn(`what hosts had before they were in a cluster is not moved yet: ${messageOf(error)}`)
    })
  }

  /**
   * A host that was a cluster of its own and is configured with one now: what it had moves there (behaviour 6),
   * unless hosts that joined it are up under its name, which goes on then until an administrator renames it.
   */
  async #includeStandalone(): Promise<void> {
    for (const { cluster, host, backend } of this.#configs.values()) {
      const from = `${host}@${backend}`
      if (cluster === undefined || cluster === host || this.#session === null) continue
      const { store, directory, renamer } = this.#session
      if (!directory.services.has(`${from}@${host}`)) continue
      const to = `${cluster}@${backend}`
      const why = await mark(store, { from, to }, true)
      if (why !== null) this.#log.warn(`${from} is not renamed to ${to}: ${why.why}`, { topic: from })
      else this.#renameOn(directory, renamer)
    }
  }

  /** What still has the name that a cluster had before moves in the background. */
  #renameOn(directory: Directory, renamer: Renamer): void {
    if (![...directory.clusters.values()].some(({ renamed_to }) => renamed_to !== undefined)) return
    renamer.go().catch((error: unknown) => {
      this.#log.warn(`a renaming does not get on: ${messageOf(error)}`)
    })
  }

  /** Opens the store and begins a session on it: directory, feed, clock, schedulers. Nodes are the supervisor's. */
  async #open(): Promise<void> {
    const store = await this.#options.store.open()
    try {
      await migrateOpened(store, this.#types, this.#environment, this.#log)
      await this.#checkRows(store)
      const { settings } = this
      const environment = this.#environment
      const directory = new Directory((row) => this.#placement.takes(row))
      const found: { session?: Session; lost?: unknown } = {}
      store.onLost((cause) => {
        found.lost = cause
        if (found.session !== undefined) this.#lost(found.session, cause)
      })
      this.#watchFrom(store, (commit) => this.#see(directory, commit))
      await directory.load(store, this.kinds)
      // Lost or stopped meanwhile: no session begins, and the store is let go of below.
      if ('lost' in found) throw found.lost
      if (this.#stopping !== null) throw new RekindleError('stopped', 'the runtime is stopping')
      const clock = store.exclusive ? turnClock(environment, settings.sweep_ms) : plainClock(environment)
      const lives = new Map<string, NodeLife>()
      const renamer = new Renamer({
        types: this.#types,
        store: this.#storeFor('renamer', store),
        runner: this.#runner,
        log: this.#log,
        renamed: this.#options.renamed ?? null,
      })
      const schedulers = Array.from({ length: settings.schedulers }, (_, i) => {
        const name = `scheduler ${i + 1}`
        return new Scheduler(name, {
          environment,
          clock,
          store: this.#storeFor(name, store),
          types: this.#types,
          calls: this.#calls,
          spared: this.#spared,
          settings,
          runner: this.#runner,
          chart: this.#seams.charts?.scheduler ?? schedulerChart,
          onSwept: () => this.#renameOn(directory, renamer),
          roomFor: (topic) => {
            const mailbox = this.#mailboxes.get(topic)
            return mailbox === undefined ? 0 : mailbox.capacity - mailbox.size
          },
          log: this.#log.about({ scheduler: name }, `${name}: `),
        })
      })
      const session: Session = { store, clock, directory, schedulers, renamer, lives }
      found.session = session
      this.#session = session
      for (const scheduler of schedulers) scheduler.start()
    } catch (error) {
      await store.close()
      throw error
    }
  }

  /** Everyone fences; the store is opened again until that works; then everything starts anew. */
  #lost(session: Session, cause: unknown): void {
    if (this.#session !== session) return
    this.#session = null
    this.#measures.store_losses++
    const reason = `the store is lost: ${messageOf(cause)}`
    this.#log.error(reason, this.#seen)
    this.#api.send({ type: 'store.lost' })
    this.#supervise({ type: 'store.lost' })
    for (const life of [...session.lives.values()]) {
      life.storeTrouble = true
      life.send({ type: 'store.lost', reason })
    }
    session.clock.stop()
    for (const scheduler of session.schedulers) void scheduler.stop()
    void session.renamer.stop()
    void session.store.close().catch(() => {})
    this.#reopen()
  }

  #reopen(): void {
    if (this.#stopping !== null) return
    this.#later(this.settings.sweep_ms, async () => {
      try {
        this.#opening = this.#open()
        await this.#opening
      } catch (error) {
        this.#log.warn(`the store can't be opened yet: ${messageOf(error)}`)
        this.#reopen()
        return
      }
      if (this.#stopping !== null) return
      this.#log.info('the store is back', this.#seen)
      this.#api.send({ type: 'store.back' })
      this.#supervise({ type: 'store.back' })
      await this.#waits.lookAgain(() => this.#store())
    })
  }

  stop(options: { readonly within_ms?: number } = {}): Promise<void> {
    // Set before anything ends, so that nothing is started again.
    this.#stopping ??= Promise.resolve().then(() => this.#stop(options.within_ms ?? null))
    return this.#stopping
  }

  async #stop(within_ms: number | null): Promise<void> {
    this.#api.send({ type: 'stop' })
    if (this.#callsUnderWay > 0)
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    this.#supervise({ type: 'stop' })
    for (const timer of this.#timers) timer.clear()
    await this.#opening.catch(() => {})
    const session = this.#session
    if (session !== null) {
      await this.#drain(session, within_ms)
      for (const scheduler of session.schedulers) await scheduler.stop()
      await session.renamer.stop()
      session.clock.stop()
      this.#session = null
      await session.store.close()
    }
    this.#api.stop()
    this.#waits.rejectAll(
      new RekindleError(
        'stopped',
        'the runtime was stopped before the operation ended; it goes on at the next start',
      ),
    )
    this.#listeners.clear()
  }

  /** Every life ends when it has finished what it works on; after the limit, as by a crash. */
  async #drain(session: Session, within_ms: number | null): Promise<void> {
    const lives = [...session.lives.values()]
    const over = new Promise<void>((resolve) => {
      const check = () => {
        if (session.lives.size === 0) resolve()
      }
      this.#onOver = check
      check()
    })
    for (const life of lives) life.send({ type: 'stop', reason: 'the runtime stops' })
    const kill = () => {
      for (const life of [...session.lives.values()])
        life.send({ type: 'kill', reason: 'the runtime stops now' })
    }
    const limit = within_ms === null ? null : this.#environment.timer(within_ms, kill)
    await over
    limit?.clear()
    await Promise.all(lives.map((life) => life.left))
  }

  #onOver: () => void = () => {}

  // ---- nodes ----

  /** A stopped supervisor routes nothing: what is queued waits for the next start. */
  #supervise(event: SupervisorEvent): void {
    if (this.#supervisor.getSnapshot().status === 'active') this.#supervisor.send(event)
  }

  #startNode(address: string): void {
    const session = this.#session
    const config = this.#configs.get(address)
    if (session === null || config === undefined || session.lives.has(address)) return
    const topic = `${config.cluster ?? config.host}@${config.backend}`
    const life = new NodeLife(config, {
      environment: this.#environment,
      clock: session.clock,
      store: this.#storeFor(address, session.store),
      types: this.#types,
      calls: this.#calls,
      spared: this.#spared,
      driverAt: (at) => [...this.#configs.values()].find((other) => topicOf(other) === at)?.driver ?? null,
      settings: this.settings,
      mailbox: this.#mailboxes.get(topic)!,
      runner: this.#runner,
      chart: this.#seams.charts?.node ?? nodeChart,
      endedHere: this.#endedHere.get(address) ?? 0,
      onProgress: (row, progress) => this.#tell({ type: 'progress', kind: row.kind, id: row.id, progress }),
      elsewhere: (row, message) => this.#placement.elsewhere(session.directory, row, message),
      told: (topic, address) => ({
        cluster: session.directory.clusters.get(topic),
        retired: session.directory.retired.get(address),
      }),
      isDisabled: () => this.#isDisabled(life),
      onUp: (up) => this.#starting?.(up),
      onOver: (ended) => this.#nodeOver(session, ended),
      log: this.#log.about({ node: address, topic }, `${address}: `),
    })
    session.lives.set(address, life)
    life.start()
  }

  #isDisabled(life: NodeLife): boolean {
    return this.#session?.directory.services.get(life.registration.id)?.disabled === true
  }

  #nodeOver(session: Session, life: NodeLife): void {
    if (session.lives.get(life.address) === life) session.lives.delete(life.address)
    const { incarnation } = life.context
    if (incarnation !== null) this.#endedHere.set(life.address, incarnation)
    const reason = life.context.reason ?? life.state
    const over = `life ${incarnation ?? '?'} is over (${life.state}): ${reason}`
    this.#measures.lifeEnded(life.address, life.state)
    this.#log.tell(life.restarts ? 'warn' : 'info', `${life.address}: ${over}`, {
      node: life.address,
      topic: life.registration.topic,
      ...(incarnation !== null && { incarnation }),
      state: life.state,
    })
    if (life.storeTrouble && life.context.incarnation !== null)
      this.#spared.add(life.address, life.context.incarnation)
    this.#starting?.(life)
    this.#onOver()
    if (this.#stopping !== null) return
    const ended: SupervisorEvent = {
      type: 'node.ended',
      address: life.address,
      reason: `${life.state}: ${reason}`,
      restart: life.restarts,
      counts: !life.storeTrouble,
      at: this.#environment.monotonic(),
    }
    // A store that refuses now will refuse at once again: wait a little before the next start.
    if (life.storeTrouble) this.#later(this.settings.heartbeat_ms, async () => this.#supervise(ended))
    else this.#supervise(ended)
  }

  node(host: string): { kill(): void; drain(): void; start(): void } {
    const address = this.#addressOf(host)
    const life = () => {
      const found = this.#session?.lives.get(address)
      if (found === undefined) throw new RekindleError('unknown_node', `the node ${address} is not running`)
      return found
    }
    return {
      kill: () => life().send({ type: 'kill', reason: 'killed by an administrator' }),
      drain: () => life().send({ type: 'drain', reason: 'drained by an administrator' }),
      start: () => {
        const running = this.#session?.lives.get(address)
        if (running?.state === 'draining')
          return running.send({ type: 'resume', disabled: this.#isDisabled(running) })
        if (running !== undefined) throw new RekindleError('node_running', `the node ${address} is running`)
        this.#supervise({ type: 'node.start', address, at: this.#environment.monotonic() })
      },
    }
  }

  #addressOf(host: string): string {
    const known = [...this.#configs.keys()]
    const found = known.filter((address) => address === host || address.startsWith(`${host}@`))
    if (found.length === 1) return found[0]!
    const hint =
      found.length > 1
        ? `; say which: ${found.join(', ')}`
        : nearest(
            host,
            known.flatMap((a) => [a, a.split('@')[0]!]),
          )
    throw new RekindleError('unknown_node', `there is no node '${host}' here${hint}`)
  }

  nodes(): readonly NodeView[] {
    return this.#views.nodes()
  }

  clusters(): Promise<readonly ClusterStatus[]> {
    return this.#views.clusters()
  }

  stuck(): Promise<readonly Stuck[]> {
    return this.#views.stuck()
  }

  async quotas(): Promise<readonly QuotaRow[]> {
    return listAll<QuotaRow>(this.#store(), 'quota')
  }

  async setQuota(project: string, limits: QuotaLimits): Promise<QuotaRow> {
    return this.#call(({ store }) => setLimits(this.#types, store, project, limits))
  }

  // ---- operations ----

  async accept(
    kind: string,
    id: string | null,
    operation: string,
    input?: unknown,
    options: AcceptOptions = {},
  ): Promise<Answer> {
    return this.#call(async (ports) => {
      const since = ports.store.offset()
      const answer = await accept(ports, kind, id, operation, input, options)
      if (!answer.ok) return answer
      if (answer.repeated) this.#measures.repeated++
      if (!this.#log.isSilent && !answer.repeated) this.#log.debug(...toldOfAccept(operation, answer.row))
      return this.#acceptance(answer, options.request_id ?? null, since)
    })
  }

  async cancel(kind: string, id: string): Promise<Answer> {
    return this.#call(async (ports) => {
      typeOf(this.#types, kind)
      checkId(kind, id)
      const { types, store, runner, environment } = ports
      const since = store.offset()
      const ref = { kind, id }
      const outcome = await commit(
        types,
        store,
        { ref, event: () => ({ type: 'cancel', at: environment.now() }) },
        runner,
      )
      if (outcome.ok) {
        const version = outcome.before.operation!.accepted_version
        return this.#acceptance({ row: outcome.row, version, repeated: false }, null, since)
      }
      if (outcome.refused === 'request_taken' || outcome.refused.found === 'absent') throw unknownId(kind, id)
      return refusal('cancel', ref, outcome.refused)
    })
  }

  #acceptance(
    { row, version, repeated }: Pick<AcceptedRow, 'row' | 'version' | 'repeated'>,
    request_id: string | null,
    since: number,
  ): Acceptance {
    // From now on, not from when it is asked for: the resource may have moved on by then.
    const settled = this.#waits.settled(() => this.#store(), row, version, request_id, since)
    // Nobody need ask; a stop that rejects it is then no fault.
    settled.catch(() => {})
    return { ok: true, id: row.id, row, repeated, settled: () => settled }
  }

  /** One call through the api: counted while it is under way, so that a stop answers it. */
  async #call<A>(run: (ports: AcceptPorts) => Promise<A>): Promise<A> {
    this.#callsUnderWay++
    try {
      const { store, directory } = this.#sessionOrThrow()
      return await run({
        types: this.#types,
        store: this.#storeFor('api', store),
        directory,
        placement: this.#placement,
        environment: this.#environment,
        runner: this.#runner,
      })
    } catch (error) {
      this.#measures.error(error)
      throw storeErrorInWords(error)
    } finally {
      if (--this.#callsUnderWay === 0) this.#idle?.()
    }
  }

  // ---- reading ----

  async get(kind: string, id: string): Promise<ResourceRow | undefined> {
    typeOf(this.#types, kind)
    checkId(kind, id)
    return (await this.#store().get(keyOf({ kind, id }))) as unknown as ResourceRow | undefined
  }

  async list(kind: string, options: ListOptions = {}): Promise<Listed> {
    const { after, limit = 1_000, ...rest } = options
    if (!Number.isInteger(limit) || limit < 1 || limit > 10_000)
      throw new RekindleError('bad_input', `limit is ${limit}; a whole number from 1 to 10,000 is needed`, {
        issues: [{ path: 'limit', message: 'must be a whole number from 1 to 10,000' }],
      })
    if (after != null) checkId(kind, after)
    const page: Page = await this.#store().list(this.#filter(kind, rest), {
      after: after == null ? null : keyOf({ kind, id: after }),
      limit,
    })
    return {
      rows: page.rows as unknown as ResourceRow[],
      next: page.next === null ? null : refFrom(page.next).id,
    }
  }

  async count(
    kind: string,
    options: Pick<ListOptions, 'status' | 'cluster' | 'worker'> = {},
  ): Promise<number> {
    return this.#store().count(this.#filter(kind, options))
  }

  #filter(kind: string, { status, worker, cluster }: ListOptions): Filter {
    const { all } = typeOf(this.#types, kind).statuses
    if (status !== undefined && !all.includes(status))
      throw new RekindleError('unknown_status', `${kind} has no status '${status}'${nearest(status, all)}`)
    return {
      kind,
      ...(status === undefined ? {} : { status }),
      ...(worker === undefined ? {} : { worker }),
      ...(cluster === undefined ? {} : { cluster }),
    }
  }

  watch(listener: (event: RuntimeEvent) => void, options: { readonly from?: number } = {}): () => void {
    const { store } = this.#sessionOrThrow()
    if (options.from !== undefined) {
      // The past first, synchronously: nothing comes between it and the first live change.
      const stop = store.watch(options.from, (commit) => tellChanges(commit, listener))
      stop()
    }
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  offset(): number {
    return this.#store().offset()
  }

  /** What was counted up to now, and what a look around tells; the latter not while the store is lost. */
  async measures(): Promise<Measured> {
    const gauges = this.#measures.read({
      mailbox: this.#ofTopics(({ size }) => size),
      doorbells_dropped: this.#ofTopics(({ dropped }) => dropped),
      calls: one(this.#callsUnderWay),
      waits: one(this.#waits.size),
      leftover_calls: one(this.#calls.leftovers().length),
      store_open: one(this.#session === null ? 0 : 1),
    })
    const session = this.#session
    if (session === null) return gauges
    const { directory, lives, store } = session
    const states = { starting: 0, up: 0, down: 0 }
    for (const { state } of directory.services.values()) states[state]++
    const topics = new Set([...this.#mailboxes.keys(), ...directory.views().map(({ topic }) => topic)])
    const queued = await Promise.all(
      [...topics].map(async (topic) => ({
        labels: { topic },
        value: await store.count({ worker: topic, taken: false }),
      })),
    ).catch(() => [])
    return {
      ...gauges,
      queued,
      in_flight: [...lives].map(([node, life]) => ({ labels: { node }, value: life.held.length })),
      nodes: Object.entries(states).map(([state, value]) => ({ labels: { state }, value })),
      store_offset: one(store.offset()),
    }
  }

  #ofTopics(value: (mailbox: Mailbox) => number): Sample[] {
    return [...this.#mailboxes].map(([topic, mailbox]) => ({ labels: { topic }, value: value(mailbox) }))
  }

  state(): string {
    return this.#api.getSnapshot().value as string
  }

  // ---- the rest ----

  /** From where the last session ended, so that what was unknown then is told now; from here on where that is too old. */
  #watchFrom(store: Store, see: (commit: Commit) => void): void {
    const from = this.#seenOffset === null ? store.offset() : Math.min(this.#seenOffset, store.offset())
    try {
      store.watch(from, see)
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'offset_too_old') throw error
      store.watch(store.offset(), see)
    }
  }

  #see(directory: Directory, commit: Commit): void {
    this.#seenOffset = commit.offset
    directory.see(commit)
    for (const { key, row } of commit.changes)
      if (row === null) this.#measures.forget(key)
      else if (this.#types.has(row.kind)) {
        this.#abortOlder(key, row as unknown as ResourceRow)
        this.#waits.see(key, row as unknown as ResourceRow)
      } else if (row.kind === 'beat') this.#measures.beat(row.id)
      else if (row.kind === 'service') this.#tellLife(key, row as unknown as ServiceRow)
    if (this.#listeners.size > 0) tellChanges(commit, (event) => this.#tell(event))
  }

  /** A cancel, a force operation or a cleanup of another process ends the calls of this one as well (rule R13). */
  #abortOlder(key: Key, row: ResourceRow): void {
    if (!this.#calls.has(key)) return
    this.#calls.abortUpTo(key, row.fence - 1, new Aborted('superseded', 'its claim is over'))
    if (row.operation?.cancel_requested_at != null)
      this.#calls.abortUpTo(key, row.fence, new Aborted('cancelled', 'it was cancelled'))
  }

  /** A life of this process learns at once what an administrator says of it. */
  #tellLife(key: string, service: ServiceRow): void {
    for (const life of this.#session?.lives.values() ?? [])
      if (life.registration.serviceKey === key) life.send({ type: service.disabled ? 'disable' : 'enable' })
  }

  #tell(event: RuntimeEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (error) {
        this.#log.error(`a listener threw: ${messageOf(error)}`)
      }
    }
  }

  async #ringIfQueued(key: string): Promise<void> {
    const row = (await this.#session?.store.get(key).catch(() => undefined)) as ResourceRow | undefined
    if (row !== undefined && row.operation !== null && row.incarnation === null) this.#runner.ring(row)
  }

  /** Rows that the definitions given can't explain refuse the start, with counts. */
  async #checkRows(store: Store): Promise<void> {
    const known = [...this.#types.keys(), ...OWN_KINDS]
    const counts = await Promise.all(known.map((kind) => store.count({ kind })))
    const unknown: string[] = []
    const strangers = (await store.count({})) - counts.reduce((sum, count) => sum + count, 0)
    if (strangers > 0)
      unknown.push(`${strangers} rows of kinds that are not given (known: ${known.join(', ')})`)
    for (const [i, { kind, statuses }] of this.kinds.entries()) {
      const byStatus = await Promise.all(statuses.all.map((status) => store.count({ kind, status })))
      const odd = counts[i]! - byStatus.reduce((sum, count) => sum + count, 0)
      if (odd > 0) unknown.push(`${odd} rows of ${kind} in statuses that its table does not have`)
    }
    if (unknown.length > 0)
      throw new RekindleError(
        'unknown_rows',
        `${this.#options.store.name} holds ${unknown.join(' and ')}; give their definitions, or open it with the version that wrote them`,
      )
  }

  #storeFor(actor: string, store: Store): Store {
    return this.#seams.storeFor?.(actor, store) ?? store
  }

  #store(): Store {
    return this.#sessionOrThrow().store
  }

  #sessionOrThrow(): Session {
    if (this.#stopping !== null)
      throw new RekindleError('stopped', 'the runtime is stopping; nothing is accepted')
    if (this.#session === null)
      throw new RekindleError(
        'store_lost',
        'the store is lost just now; the runtime resumes by itself, try again',
      )
    return this.#session
  }

  #later(ms: number, run: () => Promise<void>): void {
    const timer = this.#environment.timer(ms, () => {
      this.#timers.delete(timer)
      void run()
    })
    this.#timers.add(timer)
  }

  get #seen(): LogFields {
    return this.#seenOffset === null ? {} : { offset: this.#seenOffset }
  }
}

function tellChanges(commit: Commit, tell: (event: RuntimeEvent) => void): void {
  for (const { key, row } of commit.changes) tell({ type: 'change', offset: commit.offset, key, row })
}

const one = (value: number): Sample[] => [{ labels: {}, value }]

function toldOfAccept(operation: string, row: ResourceRow): [string, LogFields] {
  const where = row.worker === null ? `it is ${row.status}` : `queued at ${row.worker}`
  const fields = { ...fieldsOf(row), operation, topic: row.cluster, status: row.status }
  return [`${operation} of ${keyOf(row)} is accepted: ${where}`, fields]
}

function storeErrorInWords(error: unknown): unknown {
  if (!(error instanceof StoreError) || !isStoreTrouble(error)) return error
  const code = error.code === 'store_refused' ? 'store_refused' : 'store_lost'
  return new RekindleError(code, error.message, { cause: error })
}

function checkNode({ cluster, backend, host, driver }: NodeConfig): void {
  for (const [field, value] of Object.entries({ cluster: cluster ?? host, backend, host }))
    if (!isPlaceName(value))
      throw new RekindleError(
        'bad_settings',
        `node ${host}: ${field} '${String(value)}' must be 1 to 63 letters, digits, '_', '.' or '-'`,
      )
  if (typeof driver?.operations !== 'object')
    throw new RekindleError('bad_settings', `node ${host}: the driver has no operations`)
}

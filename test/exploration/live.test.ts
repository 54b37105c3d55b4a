// The explored model does what the live runtime does: random ways through the model, without faults and with
// a crash at each point of a claim, are gone by two live processes on one store as well, and both come to
// rest with the same rows, fences, lives and refusals.

import { describe, expect, test } from 'vitest'
import type { ResourceRow } from '../../machines/row.ts'
import type { StoredRow } from '../../store/store.ts'
import { type Configuration, configurationFrom } from '../kit/exploration/configuration.ts'
import { Model } from '../kit/exploration/model.ts'
import { CHOICES, type ChoiceKind, RES, SERVICE, SERVICE_STATES } from '../kit/exploration/state.ts'
import { ControlledDriver, clusterings, type Process, World } from '../kit/rig.ts'

/** A way through the model: its choices are taken by name, and never is more than one resource there. */
class Way {
  readonly model: Model
  #state: Uint16Array

  constructor(configuration: Configuration) {
    this.model = new Model(configuration, 6)
    this.#state = this.model.first()
  }

  /** Takes the first open choice of this kind that fits; false where there is none. */
  take(kind: ChoiceKind, fits: (a: number, b: number) => boolean = () => true): boolean {
    let taken: Uint16Array | null = null
    this.model.successors(this.#state, (of, a, b) => {
      if (taken === null && CHOICES[of] === kind && fits(a, b)) taken = this.model.next.slice()
      expect(this.model.violation).toBeNull()
    })
    if (taken === null) return false
    this.#state = taken
    return true
  }

  /** Takes these, as often as there is one, in this order of preference, until there is none. */
  takeAll(...kinds: readonly [ChoiceKind, ((a: number, b: number) => boolean)?][]): void {
    while (kinds.some(([kind, fits]) => this.take(kind, fits)));
  }

  get row(): ResourceRow {
    const base = this.model.resources.start
    const [body, who, incarnation, fence, host] = this.#state.slice(base, base + 5) as unknown as number[]
    return this.model.rows.row(0, {
      body: body!,
      who: who!,
      incarnation: incarnation!,
      fence: fence!,
      host: host!,
    })
  }

  get bellRings(): boolean {
    return this.#state[this.model.resources.start + RES.bell] === 1
  }

  service(host: number): { state: string; incarnation: number; cleaned_incarnation: number } {
    const base = this.model.services.start + host * this.model.services.size
    return {
      state: SERVICE_STATES[this.#state[base + SERVICE.state]!]!,
      incarnation: this.#state[base + SERVICE.incarnation]!,
      cleaned_incarnation: this.#state[base + SERVICE.cleaned]!,
    }
  }
}

type Point = 'before the claim' | 'while the driver runs' | 'before the finish'
const points: readonly Point[] = ['before the claim', 'while the driver runs', 'before the finish']

/** What is compared: everything of a row that the model keeps, and no times. */
const inShort = ({ status, previous_status, worker, incarnation, fence, attempts, data }: ResourceRow) => ({
  status,
  previous_status,
  worker,
  incarnation,
  fence,
  attempts,
  data,
})

/** The same way in both; the model is asked first whether an operation is to be accepted. */
class Both {
  readonly way: Way
  readonly world = new World({ exclusive: false })
  readonly driver = new ControlledDriver({ fences: true, stubborn: true })
  readonly #processes: Process[] = []
  readonly #cluster: string
  id: string | null = null

  private constructor(configuration: Configuration, cluster: string) {
    this.way = new Way(configuration)
    this.#cluster = cluster
  }

  static async start(cluster: string): Promise<Both> {
    const both = new Both(
      await configurationFrom({ clusterIsHost: cluster === 'h1', operations: 7, schedulers: 1, crashes: 1 }),
      cluster,
    )
    for (const host of [0, 1]) both.#processes[host] = await both.startHost(host)
    return both
  }

  startHost(host: number): Promise<Process> {
    return this.world.start({
      nodes: [{ host: `h${host + 1}` }],
      cluster: this.#cluster,
      driver: this.driver,
      settings: { schedulers: 1 },
    })
  }

  /** Asks one operation of a process, whose node is to claim it. False: refused, by both. */
  async ask(asked: number, host: number): Promise<boolean> {
    const { name, input } = this.way.model.configuration.asked[asked]!
    const accepts = this.way.take('accept', (_, a) => a === asked)
    const { volume } = this.#processes[host]!.runtime
    const door = this.id === null ? volume : volume(this.id)
    const operate = (
      door as unknown as Record<string, (input: unknown) => Promise<{ ok: boolean; id: string }>>
    )[name]!
    const takesNone =
      this.way.model.configuration.types.get('volume')!.table.operations[name]!.input === undefined
    const answer = await operate.call(door, takesNone && this.id !== null ? undefined : input)
    expect({ name, ok: answer.ok }).toEqual({ name, ok: accepts })
    if (accepts) this.id ??= answer.id
    return accepts
  }

  /** A node claims, drives and finishes; an operation without a driver is done already. */
  async work(host: number): Promise<void> {
    const mine = (life: number) => life === host
    if (!this.way.bellRings) return
    this.way.take('take', mine)
    this.way.takeAll(['claim'], ['begin'], ['effect'], ['settle'], ['finish'])
    await this.world.until(() => this.driver.open.length === 1)
    expect(this.driver.open[0]!.worker).toBe(`h${host + 1}@file`)
    this.driver.open[0]!.done()
  }

  /** The next claim of this node never reaches the store. */
  holdClaim(host: number): void {
    this.#hang(host, ({ incarnation }) => incarnation !== null)
  }

  #hang(host: number, what: (row: StoredRow) => boolean): void {
    this.world.fault = ({ actor, changes }) =>
      actor === `h${host + 1}@file` &&
      changes.some((change) => 'put' in change && change.put.kind === 'volume' && what(change.put))
        ? 'hangs'
        : undefined
  }

  /** The node that has it crashes at this point, and the other one's scheduler puts it right. */
  async crash(host: number, point: Point, comesBack: boolean): Promise<void> {
    const mine = (life: number) => life === host
    const others = (life: number) => life !== host
    this.way.take('take', mine)
    if (point !== 'before the claim') this.way.takeAll(['claim'], ['begin'])
    if (point === 'before the finish') this.way.takeAll(['effect'], ['settle'])
    this.way.take('crash', mine)
    if (point === 'before the claim') await this.world.environment.settle()
    else {
      await this.world.until(() => this.driver.open.length === 1)
      this.#hang(host, ({ incarnation }) => incarnation === null)
      if (point === 'before the finish') this.driver.open[0]!.done()
      await this.world.environment.settle()
    }
    await this.#processes[host]!.crash()
    this.world.fault = () => undefined
    const after = this.driver.calls.length
    // In the model too, the other's scheduler finds it down and puts its rows right before anybody claims.
    this.way.takeAll(['take up a duty'], ['clean'], ['close'], ['sweep'])
    this.way.takeAll(
      ['ring again'],
      ['take', others],
      ['claim'],
      ['begin'],
      ['effect'],
      ['settle'],
      ['finish'],
    )
    const settles = async () => {
      for (const call of this.driver.calls.slice(after)) if (!call.settled) call.done()
      const row = await this.world.row('volume', this.id!)
      return row.operation === null
    }
    await this.world.until(settles)
    await this.world.environment.advance(10_000)
    if (!comesBack) return
    this.way.take('start', mine)
    this.way.takeAll(['list own'], ['clean own'], ['join'])
    this.#processes[host] = await this.startHost(host)
  }

  async expectSame(): Promise<void> {
    const live = await this.world.rest('volume', this.id!)
    const { row } = this.way
    expect(inShort(live)).toEqual(inShort(row))
    for (const host of [0, 1])
      expect(await this.world.service(`h${host + 1}`)).toMatchObject(this.way.service(host))
  }

  async stop(...hosts: readonly number[]): Promise<void> {
    for (const host of hosts) await this.#processes[host]!.stop()
  }
}

/** Whole numbers below a bound that look random, the same for the same seed. */
function chance(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) >>> 0
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

describe.each(clusterings)('The model and two live processes, $clustering', ({ cluster }) => {
  test('come to the same rest after each operation of 25 random ways without faults', async () => {
    let refused = 0
    for (let seed = 1; seed <= 25; seed++) {
      const below = chance(seed)
      const both = await Both.start(cluster)
      const { asked } = both.way.model.configuration
      const host = below(2)
      await both.ask(
        asked.findIndex(({ name }) => name === 'create'),
        host,
      )
      await both.work(host)
      await both.expectSame()
      for (let i = 0; i < 5; i++) {
        const next = 1 + below(asked.length - 1)
        if (asked[next]!.name === 'create') continue
        const by = below(2)
        if (await both.ask(next, by)) await both.work(by)
        else refused++
        await both.expectSame()
      }
      await both.stop(0, 1)
    }
    expect(refused).toBeGreaterThan(10)
  })

  test.each(points)('come to the same rest after a crash %s', async (point) => {
    for (let seed = 1; seed <= 6; seed++) {
      const below = chance(seed)
      const both = await Both.start(cluster)
      const { asked } = both.way.model.configuration
      const named = (name: string) => asked.findIndex((one) => one.name === name)
      const host = below(2)
      // A create, an extend or a delete is under way.
      const last = ['create', 'extend', 'delete'][seed % 3]!
      if (last !== 'create') {
        await both.ask(named('create'), host)
        await both.work(host)
        await both.expectSame()
      }
      if (point === 'before the claim') both.holdClaim(host)
      await both.ask(named(last), host)
      const comesBack = below(2) === 1
      await both.crash(host, point, comesBack)
      await both.expectSame()
      await both.stop(...(comesBack ? [0, 1] : [1 - host]))
    }
  })
})

// One state for all that are alike: incarnations and fences are counted by rank, interchangeable nodes and
// resources are put in one order, and so are executions, duties and schedulers, whose places mean nothing.
// It may only rename; whatever a guard could tell apart stays apart.

import type { Model } from './model.ts'
import { FIRST_HOST } from './rows.ts'
import { CLIENT, DUTY, EXEC, LIFE, RES, SCHEDULER, SERVICE } from './state.ts'

const DUTY_SIZE = 6

interface Renaming {
  /** By new place: the host that comes there; and by old host: its new place. */
  readonly hosts: readonly number[]
  readonly newHost: readonly number[]
  readonly resources: readonly number[]
  readonly newResource: readonly number[]
}

export class Canonical {
  readonly #model: Model
  readonly #renamings: readonly Renaming[]
  readonly #renamed: Uint16Array
  readonly #packed: Uint32Array
  readonly #ranks = new Uint16Array(64)
  readonly #hostSigns: number[]
  readonly #resourceSigns: number[]
  readonly #sorted: Float64Array

  constructor(model: Model) {
    this.#model = model
    this.#renamed = new Uint16Array(model.layout.length)
    this.#packed = new Uint32Array(model.layout.words)
    this.#hostSigns = model.configuration.hosts.map(() => 0)
    this.#resourceSigns = model.configuration.resources.map(() => 0)
    this.#renamings = renamingsOf(model)
    this.#sorted = new Float64Array(model.executions.count)
  }

  /** Writes the packed form that stands for this state and all that are alike. Changes the state's ranks. */
  pack(state: Uint16Array, into: Uint32Array): void {
    this.#rank(state)
    const { layout } = this.#model
    if (this.#renamings.length === 1) {
      this.#order(state)
      layout.pack(state, into)
      return
    }
    this.#sign(state)
    let isFirst = true
    for (const renaming of this.#renamings) {
      if (!this.#isInOrder(renaming)) continue
      this.#rename(state, renaming)
      this.#order(this.#renamed)
      if (isFirst) layout.pack(this.#renamed, into)
      else {
        layout.pack(this.#renamed, this.#packed)
        if (isLess(this.#packed, into)) into.set(this.#packed)
      }
      isFirst = false
    }
  }

  // ---- ranks ----

  #rank(state: Uint16Array): void {
    const { services } = this.#model
    for (let host = 0; host < services.count; host++) {
      let used = 0
      this.#eachIncarnation(state, host, (at) => {
        used |= 1 << state[at]!
      })
      if (this.#isDense(used & ~1, 1)) continue
      this.#eachIncarnation(state, host, (at) => {
        if (state[at] !== 0) state[at] = this.#ranks[state[at]!]!
      })
    }
    const { resources } = this.#model
    for (let r = 0; r < resources.count; r++) {
      let used = 0
      this.#eachFence(state, r, (at) => {
        used |= 1 << state[at]!
      })
      if (this.#isDense(used, 0)) continue
      this.#eachFence(state, r, (at) => {
        state[at] = this.#ranks[state[at]!]!
      })
    }
  }

  /** The values used are `from`, `from` + 1, ...; else `ranks` says what each becomes. */
  #isDense(used: number, from: number): boolean {
    const shifted = used >>> from
    if ((shifted & (shifted + 1)) === 0) return true
    let rank = from
    for (let value = 0; value < 32; value++) if ((used >>> value) & 1) this.#ranks[value] = rank++
    return false
  }

  #eachIncarnation(state: Uint16Array, host: number, visit: (at: number) => void): void {
    const { services, lives, resources, executions, schedulers, carried, clients, duties, configuration } =
      this.#model
    const service = services.start + host * services.size
    visit(service + SERVICE.incarnation)
    visit(service + SERVICE.cleaned)
    for (let life = 0; life < lives.count; life++)
      if (configuration.lives[life] === host) visit(lives.start + life * lives.size + LIFE.incarnation)
    for (let r = 0; r < resources.count; r++) {
      const base = resources.start + r * resources.size
      if (state[base + RES.who] === FIRST_HOST + host) visit(base + RES.incarnation)
    }
    for (let slot = 0; slot < executions.count; slot++) {
      const base = executions.start + slot * executions.size
      const life = state[base + EXEC.life]!
      if (life !== 0 && configuration.lives[life - 1] === host) visit(base + EXEC.incarnation)
    }
    for (let s = 0; s < schedulers.count; s++)
      for (let d = 0; d < duties; d++) {
        const base = schedulers.start + s * schedulers.size + SCHEDULER.duties + d * DUTY_SIZE
        if (state[base + DUTY.type] === 0 || state[base + DUTY.host] !== host) continue
        visit(base + DUTY.incarnation)
        visit(base + DUTY.cleaned)
        visit(base + DUTY.over)
      }
    for (let r = 0; r < carried.count; r++) {
      const base = carried.start + r * carried.size
      if (state[base + RES.who] === FIRST_HOST + host) visit(base + RES.incarnation)
    }
    for (let c = 0; c < clients.count; c++) {
      const base = clients.start + c * clients.size
      if (state[base + CLIENT.who] === FIRST_HOST + host) visit(base + CLIENT.incarnation)
    }
  }

  #eachFence(state: Uint16Array, r: number, visit: (at: number) => void): void {
    const { resources, executions, carried, clients } = this.#model
    const base = resources.start + r * resources.size
    visit(base + RES.fence)
    visit(base + RES.mark)
    for (let slot = 0; slot < executions.count; slot++) {
      const execution = executions.start + slot * executions.size
      // A claim under way has no fence yet.
      if (state[execution + EXEC.what] !== 0 && state[execution + EXEC.resource] === r)
        visit(execution + EXEC.fence)
    }
    if (carried.count > 0 && state[carried.start + r * carried.size + RES.body] !== 0)
      visit(carried.start + r * carried.size + RES.fence)
    for (let c = 0; c < clients.count; c++) {
      const client = clients.start + c * clients.size
      if (state[client + CLIENT.asked] !== 0 && state[client + CLIENT.resource] === r)
        visit(client + CLIENT.fence)
    }
  }

  // ---- nodes and resources ----

  /** What can be said of a host or resource without naming another: an order by it that no renaming changes. */
  #sign(state: Uint16Array): void {
    const { services, lives, resources } = this.#model
    for (let host = 0; host < services.count; host++) {
      const service = services.start + host * services.size
      const life = lives.start + host * lives.size
      let sign = state[service + SERVICE.state]! * 16 + state[service + SERVICE.incarnation]!
      sign = (sign * 16 + state[service + SERVICE.cleaned]!) * 16 + state[life + LIFE.state]!
      sign = (sign * 16 + state[life + LIFE.incarnation]!) * 2 + state[life + LIFE.stands]!
      if (resources.count === 1) {
        sign = sign * 2 + (state[resources.start + RES.who] === FIRST_HOST + host ? 1 : 0)
        sign = sign * 2 + state[life + LIFE.listed]!
      }
      this.#hostSigns[host] = sign
    }
    for (let r = 0; r < resources.count; r++) {
      const base = resources.start + r * resources.size
      let sign = state[base + RES.body]! * 4 + Math.min(2, state[base + RES.who]!)
      sign = (sign * 16 + state[base + RES.incarnation]!) * 32 + state[base + RES.fence]!
      sign =
        (sign * 32 + state[base + RES.mark]!) * 4 + state[base + RES.exists]! * 2 + state[base + RES.bell]!
      this.#resourceSigns[r] = sign
    }
  }

  #isInOrder({ hosts, resources }: Renaming): boolean {
    // Places that are not interchangeable hold themselves; only those that moved have to be in order.
    for (const [place, host] of hosts.entries()) {
      const after = hosts[place + 1]
      if (after === undefined || !this.#model.canSwapHosts(place, place + 1)) continue
      if (this.#hostSigns[host]! > this.#hostSigns[after]!) return false
    }
    for (const [place, r] of resources.entries()) {
      const after = resources[place + 1]
      if (after === undefined || !this.#model.canSwapResources(place, place + 1)) continue
      if (this.#resourceSigns[r]! > this.#resourceSigns[after]!) return false
    }
    return true
  }

  #rename(state: Uint16Array, { hosts, newHost, resources, newResource }: Renaming): void {
    const { configuration, services, lives, executions, schedulers, carried, clients, duties } = this.#model
    const places = this.#model.resources
    const to = this.#renamed
    to.set(state)
    const copy = (group: { start: number; size: number }, from: number, into: number) => {
      const source = group.start + from * group.size
      const target = group.start + into * group.size
      for (let i = 0; i < group.size; i++) to[target + i] = state[source + i]!
    }
    const mask = (listed: number) => {
      let renamed = 0
      for (let r = 0; r < newResource.length; r++) if (listed & (1 << r)) renamed |= 1 << newResource[r]!
      return renamed
    }
    const person = (at: number) => {
      if (to[at]! >= FIRST_HOST) to[at] = FIRST_HOST + newHost[to[at]! - FIRST_HOST]!
    }
    const last = (at: number) => {
      if (to[at] !== 0) to[at] = newHost[to[at]! - 1]! + 1
    }
    for (let r = 0; r < places.count; r++) {
      copy(places, resources[r]!, r)
      person(places.start + r * places.size + RES.who)
      last(places.start + r * places.size + RES.host)
      if (carried.count === 0) continue
      copy(carried, resources[r]!, r)
      person(carried.start + r * carried.size + RES.who)
      last(carried.start + r * carried.size + RES.host)
    }
    for (let host = 0; host < services.count; host++) {
      copy(services, hosts[host]!, host)
      copy(lives, hosts[host]!, host)
    }
    for (let life = 0; life < lives.count; life++) {
      const at = lives.start + life * lives.size + LIFE.listed
      to[at] = mask(to[at]!)
    }
    for (let slot = 0; slot < executions.count; slot++) {
      const base = executions.start + slot * executions.size
      const life = to[base + EXEC.life]!
      if (life === 0) continue
      // A life with its host's number moves with it; a twin stays.
      if (life <= configuration.hosts.length) to[base + EXEC.life] = newHost[life - 1]! + 1
      to[base + EXEC.resource] = newResource[to[base + EXEC.resource]!]!
    }
    for (let s = 0; s < schedulers.count; s++) {
      const base = schedulers.start + s * schedulers.size
      to[base + SCHEDULER.listed] = mask(to[base + SCHEDULER.listed]!)
      for (let d = 0; d < duties; d++) {
        const duty = base + SCHEDULER.duties + d * DUTY_SIZE
        if (to[duty + DUTY.type] !== 0) to[duty + DUTY.host] = newHost[to[duty + DUTY.host]!]!
      }
    }
    for (let c = 0; c < clients.count; c++) {
      const base = clients.start + c * clients.size
      if (to[base + CLIENT.asked] === 0) continue
      to[base + CLIENT.resource] = newResource[to[base + CLIENT.resource]!]!
      person(base + CLIENT.who)
      last(base + CLIENT.host)
    }
  }

  // ---- places that mean nothing ----

  #order(state: Uint16Array): void {
    const { executions, schedulers, clients, duties } = this.#model
    this.#sortExecutions(state, executions)
    for (let s = 0; s < schedulers.count; s++) {
      const base = schedulers.start + s * schedulers.size
      const from = state[base + SCHEDULER.busy]!
      sortGroups(state, base + SCHEDULER.duties, from, duties, DUTY_SIZE)
    }
    if (this.#model.configuration.merge)
      sortGroups(state, schedulers.start, 0, schedulers.count, schedulers.size)
    sortGroups(state, clients.start, 0, clients.count, clients.size)
  }

  /** As one number each: they are many, and most of them empty. */
  #sortExecutions(
    state: Uint16Array,
    { start, count, size }: { start: number; count: number; size: number },
  ): void {
    const sorted = this.#sorted
    let filled = 0
    for (let slot = 0; slot < count; slot++) {
      const base = start + slot * size
      if (state[base] === 0) continue
      let number = 0
      for (let i = 0; i < size; i++) number = number * 64 + state[base + i]!
      let at = filled++
      while (at > 0 && sorted[at - 1]! > number) {
        sorted[at] = sorted[at - 1]!
        at--
      }
      sorted[at] = number
    }
    for (let slot = 0; slot < count; slot++) {
      const base = start + slot * size
      if (slot >= filled) {
        for (let i = 0; i < size; i++) state[base + i] = 0
        continue
      }
      let number = sorted[slot]!
      for (let i = size - 1; i >= 0; i--) {
        const rest = Math.floor(number / 64)
        state[base + i] = number - rest * 64
        number = rest
      }
    }
  }
}

/** Insertion sort of `count` neighbouring groups from place `from` on, the greatest first: empty ones go last. */
function sortGroups(state: Uint16Array, start: number, from: number, count: number, size: number): void {
  for (let i = from + 1; i < count; i++)
    for (let j = i; j > from && isBefore(state, start + (j - 1) * size, start + j * size, size); j--)
      for (let f = 0; f < size; f++) {
        const at = start + j * size + f
        const kept = state[at]!
        state[at] = state[at - size]!
        state[at - size] = kept
      }
}

function isBefore(state: Uint16Array, a: number, b: number, size: number): boolean {
  for (let f = 0; f < size; f++) if (state[a + f] !== state[b + f]) return state[a + f]! < state[b + f]!
  return false
}

function isLess(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! < b[i]!
  return false
}

function renamingsOf(model: Model): readonly Renaming[] {
  const { hosts, resources, merge } = model.configuration
  const hostOrders = ordersOf(hosts.length, (a, b) => merge && model.canSwapHosts(a, b))
  const resourceOrders = ordersOf(resources.length, (a, b) => merge && model.canSwapResources(a, b))
  return hostOrders.flatMap((hostOrder) =>
    resourceOrders.map((resourceOrder) => ({
      hosts: hostOrder,
      newHost: hostOrder.map((_, old) => hostOrder.indexOf(old)),
      resources: resourceOrder,
      newResource: resourceOrder.map((_, old) => resourceOrder.indexOf(old)),
    })),
  )
}

/** Every order of 0..count-1 in which a place holds itself or one that may stand in for it. */
function ordersOf(
  count: number,
  may: (place: number, one: number) => boolean,
): readonly (readonly number[])[] {
  const orders: number[][] = []
  const extend = (order: number[]) => {
    if (order.length === count) orders.push(order)
    for (let one = 0; one < count && order.length < count; one++)
      if (!order.includes(one) && (one === order.length || may(order.length, one))) extend([...order, one])
  }
  extend([])
  return orders
}

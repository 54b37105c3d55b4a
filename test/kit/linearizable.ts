// Whether calls that overlap in time can be put in one order that a sequential model explains: the search of
// Wing and Gong as Lowe runs it, answer by answer, over the set of everything that may be true. It knows no
// resource; see register.ts for the model and history.ts for what is recorded.

/** A call as the search sees it: when it was made and when it was answered. Intervals are closed. */
export interface Interval {
  readonly invoked: number
  /** Null: never answered. It may take effect at any time from its invocation on, or never. */
  readonly answered: number | null
}

/**
 * A sequential specification. `step` gives every state in which the call may leave it, none where the call
 * can't have been answered like that. Of an unanswered call the model gives what it may have done. Taking an
 * unanswered call later must never be worse than taking it earlier than another call that is possible
 * without it; the search relies on that to try them last.
 */
export interface Model<State, Call> {
  step(state: State, call: Call): readonly State[]
  /** Only states of one group are compared by `covers`. */
  groupOf(state: State): string
  /** Whatever is possible from `other` is possible from `state`; equal states cover each other. */
  covers(state: State, other: State): boolean
  /** Unanswered calls of one name do the same. */
  nameOf(call: Call): string
  /** Calls that have one are taken in this order; null for a call that may stand anywhere. */
  rankOf(call: Call): number | null
}

export type Linearization<State, Call> =
  | { readonly verdict: 'linearizable'; readonly visited: number }
  | {
      readonly verdict: 'not_linearizable'
      readonly visited: number
      /** The first answer that nothing explains, in the order of the answers. */
      readonly call: Call
      /** What the calls before it may have left, and which of the open calls were taken by then. */
      readonly before: readonly { readonly state: State; readonly taken: readonly Call[] }[]
    }
  /** More was visited than allowed: nobody knows. */
  | { readonly verdict: 'undecided'; readonly visited: number }

interface Configuration<State, Call> {
  readonly state: State
  /** Calls under way that have taken effect already. */
  readonly taken: ReadonlySet<Call>
}

/** Answers for one object: calls of several objects are independent, and checked apart. */
export function linearize<State, Call extends Interval>(
  calls: readonly Call[],
  initial: State,
  model: Model<State, Call>,
  most = 200_000,
): Linearization<State, Call> {
  const search = new Search(model, most)
  let now: Configuration<State, Call>[] = [{ state: initial, taken: new Set() }]
  const open = new Set<Call>()
  for (const { call, isAnswer } of momentsOf(calls)) {
    if (!isAnswer) {
      open.add(call)
      continue
    }
    const next = search.take(now, call, [...open])
    if (next === null) return { verdict: 'undecided', visited: search.visited }
    if (next.length === 0) {
      const before = now.map(({ state, taken }) => ({ state, taken: [...taken] }))
      return { verdict: 'not_linearizable', visited: search.visited, call, before }
    }
    open.delete(call)
    now = next.map(({ state, taken }) => {
      const rest = new Set(taken)
      rest.delete(call)
      return { state, taken: rest }
    })
  }
  return { verdict: 'linearizable', visited: search.visited }
}

/** Invocations and answers in time; at one moment the invocations first, since intervals that touch overlap. */
function momentsOf<Call extends Interval>(calls: readonly Call[]): { call: Call; isAnswer: boolean }[] {
  const moments = calls.flatMap((call) => [
    { call, isAnswer: false, at: call.invoked },
    ...(call.answered === null ? [] : [{ call, isAnswer: true, at: call.answered }]),
  ])
  return moments.sort((a, b) => a.at - b.at || Number(a.isAnswer) - Number(b.isAnswer))
}

class Search<State, Call extends Interval> {
  visited = 0
  readonly #model: Model<State, Call>
  readonly #most: number

  constructor(model: Model<State, Call>, most: number) {
    this.#model = model
    this.#most = most
  }

  /** Everything that may be true once `call` has taken effect; null when it is too much to look at. */
  take(
    from: readonly Configuration<State, Call>[],
    call: Call,
    open: readonly Call[],
  ): Configuration<State, Call>[] | null {
    const results = new Distinct(this.#model)
    for (const configuration of from.map((each) => this.#withoutEffect(each, open))) {
      // As few of the unanswered calls as it needs.
      let level = [configuration]
      while (level.length > 0) {
        const found = this.#takeAnswered(level, call, open, results)
        if (found === null) return null
        if (found.isTaken) break
        const next = new Distinct(this.#model)
        for (const { state, taken } of found.seen)
          for (const other of this.#unanswered(open, taken)) this.#step({ state, taken }, other, open, next)
        level = next.all()
      }
    }
    return this.visited > this.#most ? null : results.all()
  }

  /** Takes `call` after any of the calls that are answered later; says what was seen on the way. */
  #takeAnswered(
    from: readonly Configuration<State, Call>[],
    call: Call,
    open: readonly Call[],
    results: Distinct<State, Call>,
  ): { isTaken: boolean; seen: readonly Configuration<State, Call>[] } | null {
    const seen = new Distinct(this.#model)
    for (const configuration of from) seen.add(configuration)
    let isTaken = false
    // What is added meanwhile is looked at as well.
    for (const configuration of seen) {
      if (this.visited > this.#most) return null
      const { taken } = configuration
      if (taken.has(call)) {
        results.add(configuration)
        isTaken = true
        continue
      }
      const first = this.#lowestRank(open, taken)
      for (const other of open) {
        if (other.answered === null || taken.has(other)) continue
        const rank = this.#model.rankOf(other)
        if (rank !== null && rank > first) continue
        this.#step(configuration, other, open, seen)
      }
    }
    return { isTaken, seen: seen.all() }
  }

  /** One of each name: the others of that name would do the same. */
  #unanswered(open: readonly Call[], taken: ReadonlySet<Call>): Iterable<Call> {
    const byName = new Map<string, Call>()
    for (const call of open) {
      if (call.answered !== null || taken.has(call)) continue
      const name = this.#model.nameOf(call)
      if (!byName.has(name)) byName.set(name, call)
    }
    return byName.values()
  }

  /** A call of a higher rank than one that is still to come would leave no place for that one. */
  #lowestRank(open: readonly Call[], taken: ReadonlySet<Call>): number {
    let lowest = Number.POSITIVE_INFINITY
    for (const call of open) {
      const rank = taken.has(call) || call.answered === null ? null : this.#model.rankOf(call)
      if (rank !== null && rank < lowest) lowest = rank
    }
    return lowest
  }

  #step(
    { state, taken }: Configuration<State, Call>,
    call: Call,
    open: readonly Call[],
    into: Distinct<State, Call>,
  ): void {
    for (const next of this.#model.step(state, call)) {
      this.visited++
      into.add(this.#withoutEffect({ state: next, taken: new Set(taken).add(call) }, open))
    }
  }

  /** Takes every call that is explained as things are and changes nothing: later it is only harder. */
  #withoutEffect(
    configuration: Configuration<State, Call>,
    open: readonly Call[],
  ): Configuration<State, Call> {
    const { state } = configuration
    const taken = new Set(configuration.taken)
    for (const call of open)
      if (call.answered !== null && !taken.has(call))
        if (this.#model.step(state, call).some((next) => this.#model.covers(next, state))) taken.add(call)
    return { state, taken }
  }
}

/** Configurations without those that another one makes needless. */
class Distinct<State, Call extends Interval> {
  readonly #model: Model<State, Call>
  readonly #list: Configuration<State, Call>[] = []
  readonly #groups = new Map<string, Configuration<State, Call>[]>()

  constructor(model: Model<State, Call>) {
    this.#model = model
  }

  add(configuration: Configuration<State, Call>): void {
    const text = this.#model.groupOf(configuration.state)
    const group = this.#groups.get(text) ?? []
    if (group.some((other) => this.#makesNeedless(other, configuration))) return
    group.push(configuration)
    this.#groups.set(text, group)
    this.#list.push(configuration)
  }

  [Symbol.iterator](): Iterator<Configuration<State, Call>> {
    return this.#list[Symbol.iterator]()
  }

  all(): Configuration<State, Call>[] {
    return this.#list
  }

  /** No more of the unanswered calls are used up, all the answered ones are taken, and as much is possible. */
  #makesNeedless(one: Configuration<State, Call>, other: Configuration<State, Call>): boolean {
    if (!this.#model.covers(one.state, other.state)) return false
    for (const call of one.taken) if (call.answered === null && !other.taken.has(call)) return false
    for (const call of other.taken) if (call.answered !== null && !one.taken.has(call)) return false
    return true
  }
}

// The schedule of a simulated run as data. Every decision is a choice point with a name and a default, 0, the
// boring choice; a schedule is the sparse list of deviations from it. A run draws them from its seed and writes
// them down, or is given a list and repeats it. It knows nothing of what a choice means.

/** One choice that was not the default. */
export interface Deviation {
  /** The how-manyth time, from 0, that this point was come to. */
  readonly at: number
  /** The name of the point and, after a colon, what is chosen, for people: `fault: kill p1`. */
  readonly label: string
  readonly choice: number
}

export type Schedule = readonly Deviation[]

/** Numbers from 0 to 1. */
export type Random = () => number

export interface Point {
  /** How many choices there are, the default among them. */
  readonly count: number
  /** How likely a drawn choice is not the default. */
  readonly rate: number
  /** Draws the deviation, from 1 to count - 1; evenly where absent. 0 is the default after all. */
  readonly draw?: (random: Random) => number
  /** The choice in words. */
  readonly say?: (choice: number) => string
}

export class Choices {
  /** The deviations so far, in the order of the run. */
  readonly made: Deviation[] = []
  readonly #counts = new Map<string, number>()
  readonly #random: Random
  readonly #given: ReadonlyMap<string, ReadonlyMap<number, number>> | null

  constructor(seed: number, schedule: Schedule | null = null) {
    this.#random = randomFrom(seed)
    this.#given = schedule === null ? null : byPoint(schedule)
  }

  /** A whole number from 0 to count - 1; 0 is the default. */
  of(name: string, point: Point): number {
    const at = this.#counts.get(name) ?? 0
    this.#counts.set(name, at + 1)
    const choice = this.#given === null ? this.#draw(point) : this.#lookUp(name, at, point)
    if (choice === 0) return 0
    const label = point.say === undefined ? name : `${name}: ${point.say(choice)}`
    this.made.push({ at, label, choice })
    return choice
  }

  #draw({ count, rate, draw }: Point): number {
    if (rate <= 0 || count < 2 || this.#random() >= rate) return 0
    return draw === undefined ? 1 + Math.floor(this.#random() * (count - 1)) : draw(this.#random)
  }

  /** A schedule that was cut may name what is no longer there: then the last choice there is. */
  #lookUp(name: string, at: number, { count }: Point): number {
    return Math.min(this.#given!.get(name)?.get(at) ?? 0, count - 1)
  }
}

/** The name of the point that a label begins with. */
export function pointOf({ label }: Deviation): string {
  const colon = label.indexOf(':')
  return colon === -1 ? label : label.slice(0, colon)
}

function byPoint(schedule: Schedule): ReadonlyMap<string, ReadonlyMap<number, number>> {
  const points = new Map<string, Map<number, number>>()
  for (const deviation of schedule) {
    const name = pointOf(deviation)
    const choices = points.get(name) ?? new Map<number, number>()
    points.set(name, choices.set(deviation.at, deviation.choice))
  }
  return points
}

/** Numbers that a seed decides (mulberry32); neighbouring seeds do not begin alike. */
export function randomFrom(seed: number): Random {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  for (let i = 0; i < 8; i++) next()
  return next
}

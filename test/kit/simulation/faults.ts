// The faults that may befall a simulated run, as a fixed list: a choice is a place in it. What each does is the
// simulation's; here is which there are and how they are drawn.

import type { Random } from './choices.ts'
import type { Mix, Topology } from './topology.ts'

export type Fault =
  /** `power`: what the disk had not synced is lost or torn. */
  | { readonly type: 'kill'; readonly process: number; readonly back: number; readonly power: boolean }
  /** The process dies at this crash point (see runtime/commit.ts) of its next commit. */
  | { readonly type: 'crash'; readonly process: number; readonly point: 1 | 2 | 3; readonly back: number }
  | { readonly type: 'pause'; readonly process: number; readonly ms: number }
  /** The way to the store, of one process or of all. */
  | {
      readonly type: 'link'
      readonly process: number | null
      readonly link: 'refuses' | 'hangs'
      readonly ms: number
    }
  /** The store is lost to a process; `answered`: with its next answer. */
  | { readonly type: 'lose'; readonly process: number; readonly answered: boolean }
  /** One node's store answers come so much later. */
  | { readonly type: 'hold'; readonly process: number; readonly host: string; readonly ms: number }
  | {
      readonly type: 'node'
      readonly process: number
      readonly host: string
      readonly what: 'kill' | 'drain' | 'start'
    }
  | { readonly type: 'full'; readonly ms: number }

type Category = 'kill' | 'crash' | 'pause' | 'link' | 'lose' | 'node'

export class Faults {
  readonly list: readonly Fault[]
  readonly #byCategory: ReadonlyMap<Category, readonly number[]>

  constructor({ store, processes }: Topology) {
    const isDisk = store === 'disk'
    const list: Fault[] = []
    const byCategory = new Map<Category, number[]>()
    const add = (category: Category, fault: Fault) => {
      list.push(fault)
      const places = byCategory.get(category) ?? []
      byCategory.set(category, [...places, list.length])
    }
    for (const [process, nodes] of processes.entries()) {
      for (const back of [10, 300, 1_500])
        for (const power of isDisk ? [false, true] : [false])
          add('kill', { type: 'kill', process, back, power })
      for (const point of [1, 2, 3] as const)
        for (const back of [10, 1_200]) add('crash', { type: 'crash', process, point, back })
      for (const ms of [200, 700, 1_200, 2_500]) add('pause', { type: 'pause', process, ms })
      for (const link of ['refuses', 'hangs'] as const)
        for (const ms of [200, 1_000, 2_500]) add('link', { type: 'link', process, link, ms })
      for (const answered of isDisk ? [] : [false, true]) add('lose', { type: 'lose', process, answered })
      for (const { host } of nodes) {
        for (const ms of [400, 1_000, 2_500]) add('link', { type: 'hold', process, host, ms })
        for (const what of ['kill', 'start', 'drain'] as const)
          add('node', { type: 'node', process, host, what })
      }
    }
    for (const ms of [400, 1_500]) add('link', { type: 'link', process: null, link: 'hangs', ms })
    for (const ms of isDisk ? [300, 2_000] : []) add('lose', { type: 'full', ms })
    this.list = list
    this.#byCategory = byCategory
  }

  rate(mix: Mix): number {
    let sum = 0
    for (const category of this.#byCategory.keys()) sum += mix[category]
    return sum
  }

  draw(mix: Mix, random: Random): number {
    let left = random() * this.rate(mix)
    for (const [category, places] of this.#byCategory) {
      left -= mix[category]
      if (left < 0) return places[Math.floor(random() * places.length)]!
    }
    return 0
  }

  /** The fault of a choice, counted from 1. */
  at(choice: number): Fault {
    return this.list[choice - 1]!
  }
}

export function inWords(fault: Fault): string {
  const process = 'process' in fault && fault.process !== null ? `p${fault.process + 1}` : 'all'
  switch (fault.type) {
    case 'kill':
      return `${fault.power ? 'power failure of' : 'kill'} ${process}, back after ${fault.back} ms`
    case 'crash':
      return `${process} dies at crash point ${fault.point}, back after ${fault.back} ms`
    case 'pause':
      return `pause ${process} for ${fault.ms} ms`
    case 'link':
      return `the store ${fault.link} for ${fault.ms} ms, for ${process}`
    case 'lose':
      return `the store is lost to ${process}${fault.answered ? ' with its next answer' : ''}`
    case 'hold':
      return `the store is silent for ${fault.ms} ms, for ${fault.host}`
    case 'node':
      return `${fault.what} the node ${fault.host}`
    case 'full':
      return `the disk is full for ${fault.ms} ms`
  }
}

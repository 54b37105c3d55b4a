// What a seed draws before a run begins: the processes, their nodes and schedulers, the store, the drivers, and
// how likely each kind of fault is. Some runs have many faults of one kind and none of another (swarm testing).
// Plain data; a replay draws the same, for faults come from its list.

import { type Random, randomFrom } from './choices.ts'

export interface NodeAt {
  readonly host: string
  readonly cluster: string
}

export interface Topology {
  /** `shared`: several processes on one memory store. `disk`: one process on the JSON store on a bad disk. */
  readonly store: 'shared' | 'disk'
  /** The nodes of each process. */
  readonly processes: readonly (readonly NodeAt[])[]
  /** Schedulers of each process. */
  readonly schedulers: number
  /** Doorbells that a mailbox holds. */
  readonly mailbox: number
  readonly concurrency: number
  readonly fences: boolean
  readonly undoes: boolean
  /** A driver's call may ignore its abort. */
  readonly deaf: boolean
  /** While the store hangs, a process hears nothing of what others commit. */
  readonly cut_off: boolean
  /** Clients ask for force operations. */
  readonly force: boolean
  /** Which nodes an administrator starts again when faults have stopped: all, or one of each cluster. */
  readonly returns: 'all' | 'one'
}

/** How likely a fault is: of a step of the world where nothing else is said. */
export interface Mix {
  readonly kill: number
  readonly crash: number
  readonly pause: number
  readonly link: number
  readonly lose: number
  readonly node: number
  /** Of a doorbell. */
  readonly doorbell: number
  /** Of a driver's call. */
  readonly driver: number
  /** Of an operation of the disk. */
  readonly disk: number
  /** Of a step: another one goes first. */
  readonly reorder: number
  /** Of a hop: it takes longer. */
  readonly delay: number
  /** Clients ask something. */
  readonly ask: number
}

export interface Drawn {
  readonly topology: Topology
  readonly mix: Mix
  /** How often each operation is asked for, by `kind.operation`; drawn as it is first needed. */
  readonly weigh: Random
}

export function drawn(seed: number, given: Partial<Topology> = {}, mixGiven: Partial<Mix> = {}): Drawn {
  const random = randomFrom(seed ^ 0x5eed)
  const one = <T>(...list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const store = one('shared', 'shared', 'disk' as const)
  const isOneText = random() < 0.3
  const first = isOneText ? 'h1' : 'ssd'
  const node = (host: string, cluster: string): NodeAt => ({ host, cluster })
  const shared = one(
    [[node('h1', first)], [node('h2', first)], [node('h3', first)]],
    [[node('h1', first)], [node('h2', first)]],
    // A second process with the host of the first: it may start only once that one is over (rule R11).
    [[node('h1', first)], [node('h1', first)], [node('h2', first)]],
    [
      [node('h1', first), node('h3', 'hdd')],
      [node('h2', first), node('h4', 'hdd')],
    ],
  )
  const alone = one(
    [[node('h1', first), node('h2', first)]],
    [[node('h1', first), node('h2', first), node('h3', 'hdd')]],
  )
  const isShared = (given.store ?? store) === 'shared'
  const fences = given.fences ?? random() < 0.7
  const topology: Topology = {
    store,
    processes: isShared ? shared : alone,
    schedulers: isShared ? one(1, 1, 2) : one(2, 3),
    mailbox: one(1, 3, 100),
    concurrency: one(1, 4, 16),
    fences,
    // With nothing at the backend to stop it, and another process to go on, that can't be survived.
    deaf: fences || !isShared,
    cut_off: fences && isShared,
    force: true,
    undoes: random() < 0.5,
    returns: one('all', 'one'),
    ...given,
  }
  const rate = (most: number) => (random() < 0.5 ? most * (0.1 + 0.9 * random()) : 0)
  const mix: Mix = {
    kill: rate(0.004),
    crash: rate(0.01),
    pause: rate(0.006),
    link: rate(0.008),
    lose: rate(0.004),
    node: rate(0.01),
    doorbell: rate(0.4),
    driver: rate(0.3),
    disk: rate(0.02),
    reorder: rate(0.3),
    delay: rate(0.2),
    ask: 0.02 + 0.1 * random(),
    ...mixGiven,
  }
  // Without a mark nothing stops the effects of a process that was stopped and goes on (rule R8).
  const isSafe = topology.fences || topology.store === 'disk'
  return { topology, mix: isSafe ? mix : { ...mix, pause: 0 }, weigh: random }
}

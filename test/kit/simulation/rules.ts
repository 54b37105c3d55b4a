// Which simulation finds each rule of the protocol switched off: how it is switched off, and the topology and mix of
// faults that favour what the rule is for. With the rule on, the same seeds must find nothing.

import type { ResourceType } from '../../../machines/definition.ts'
import { standardTypes } from '../fault_rig.ts'
import { builtInInputs } from '../inputs.ts'
import type { Rule } from '../rules.ts'
import * as off from '../sabotage.ts'
import type { SimulationOptions } from './simulation.ts'
import type { Mix, NodeAt, Topology } from './topology.ts'

type RuleOff = Pick<SimulationOptions, 'resources' | 'seamsFor' | 'driverOver'>

interface RuleCase {
  readonly topology: Partial<Topology>
  readonly mix: Partial<Mix>
  readonly off: () => RuleOff
  /** The first seed that finds it. */
  readonly firstSeed: number
}

export interface RuleSimulation {
  /** Everything but the seed, with the rule off. */
  readonly options: Omit<SimulationOptions, 'seed'>
  /** The same with the rule on. */
  readonly on: Omit<SimulationOptions, 'seed'>
  /** The first seed, from 1, that finds it. */
  readonly firstSeed: number
}

const STEPS = 2_000

/** The simulation of a rule: with its options each seed up to `firstSeed` is run, and that one violates something. */
export function simulationOf(rule: Rule): RuleSimulation {
  const { topology, mix, off: switchedOff, firstSeed } = cases[rule]
  const on = {
    steps: STEPS,
    topology,
    mix,
    resources: standardTypes as unknown as readonly ResourceType[],
    inputs: builtInInputs,
  }
  return { on, options: { ...on, ...switchedOff() }, firstSeed }
}

const at = (cluster: string, ...hosts: string[]): readonly NodeAt[] =>
  hosts.map((host) => ({ host, cluster }))
const apart = [at('ssd', 'h1'), at('ssd', 'h2')]
const shared = { store: 'shared', processes: apart, fences: true, schedulers: 1 } as const
const quiet: Mix = {
  ...{ kill: 0, crash: 0, pause: 0, link: 0, lose: 0, node: 0, doorbell: 0, driver: 0, disk: 0 },
  ...{ reorder: 0.1, delay: 0.05, ask: 0.1 },
}
const types = (replaced: unknown): Pick<RuleOff, 'resources'> => ({
  resources: replaced as readonly ResourceType[],
})
const isNode = (actor: string) => actor.includes('@')

const cases: { readonly [rule in Rule]: RuleCase } = {
  // A finish that is under way while its row is forced, or its node is declared down, is written all the same.
  R1: {
    topology: shared,
    mix: { ...quiet, delay: 0.2, pause: 0.01, link: 0.01 },
    off: () => ({
      ...types(off.anyoneFinishes()),
      seamsFor: () => ({
        storeFor: off.writesBlindly(isNode, (row) => 'fence' in row && row.operation === null),
      }),
    }),
    firstSeed: 1,
  },
  // A cleaner that saw one life down takes what the next one has claimed.
  R2: {
    topology: shared,
    mix: { ...quiet, delay: 0.2, kill: 0.01, node: 0.02 },
    off: () => ({ ...types(off.livesAreAlike()), seamsFor: () => ({ storeFor: off.listsEveryLife }) }),
    firstSeed: 1,
  },
  R3: {
    topology: { store: 'shared', processes: apart },
    mix: { ...quiet, doorbell: 0.3, kill: 0.005 },
    off: () => ({ seamsFor: () => ({ storeFor: off.seesNoQueue }) }),
    firstSeed: 1,
  },
  R4: {
    topology: shared,
    mix: { ...quiet, doorbell: 0.5, delay: 0.1 },
    off: () => ({
      seamsFor: ({ rows, onDoorbell }) => {
        const messages = off.messagesCarryRows(rows)
        onDoorbell((key) => messages.post(key))
        return { storeFor: messages.storeFor }
      },
    }),
    firstSeed: 1,
  },
  R5: {
    topology: shared,
    mix: { ...quiet, pause: 0.02, kill: 0.002 },
    off: () => ({ seamsFor: () => ({ storeFor: off.goesOnAsItWas }) }),
    firstSeed: 3,
  },
  R6: {
    topology: { ...shared, schedulers: 2, returns: 'one' },
    mix: { ...quiet, delay: 0.1, driver: 0.3, node: 0.02 },
    off: () => ({ seamsFor: () => ({ storeFor: off.closesBlindly }) }),
    firstSeed: 8,
  },
  R7: {
    topology: { store: 'shared', processes: apart },
    mix: { ...quiet, delay: 0.1 },
    off: () => ({
      seamsFor: () => ({
        storeFor: off.writesBlindly(
          (actor) => actor === 'api',
          (row) => 'fence' in row,
        ),
      }),
    }),
    firstSeed: 2,
  },
  // Its driver obeys the abort and nothing at the backend refuses anybody: only the self-fence is in time.
  R8: {
    topology: { ...shared, fences: false, cut_off: true, force: false },
    mix: { ...quiet, link: 0.006, driver: 0.7, ask: 0.2 },
    off: () => ({ seamsFor: () => ({ charts: { node: off.neverFences() } }) }),
    firstSeed: 3,
  },
  R9: {
    topology: { ...shared, processes: [at('ssd', 'h1')], mailbox: 1, concurrency: 16 },
    mix: { ...quiet, driver: 0.5, kill: 0.005, ask: 0.3 },
    off: () => ({
      seamsFor: ({ mailboxes, environment }) => ({
        storeFor: off.sendsBlock(() => mailboxes[0]!, environment),
      }),
    }),
    firstSeed: 6,
  },
  // A second process with the host of the first.
  R11: {
    topology: { ...shared, processes: [at('ssd', 'h1'), at('ssd', 'h1')], fences: false, deaf: true },
    mix: { ...quiet, driver: 0.5 },
    off: () => ({ seamsFor: () => ({ storeFor: off.believesItIsAlone }) }),
    firstSeed: 1,
  },
  R17: {
    topology: { ...shared, processes: [at('h1', 'h1', 'h2')] },
    mix: quiet,
    off: () => ({ seamsFor: () => ({ storeFor: off.workerTextTells }) }),
    firstSeed: 1,
  },
  // A driver says that it can fence, and does nothing.
  R18: {
    topology: { store: 'disk', fences: false },
    mix: { ...quiet, driver: 0.5, node: 0.01 },
    off: () => ({ driverOver: { fence: async () => {} } }),
    firstSeed: 2,
  },
}

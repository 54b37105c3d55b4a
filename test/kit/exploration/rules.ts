// The rules of the protocol that an exploration can switch off, and the smallest configuration in which each
// is then found. Guards are replaced in the shipped charts; what is no guard is a switch in the glue of the
// kit. With its rule on, each configuration holds: that is the test of the tests.

import type { AnyStateMachine } from 'xstate'
import { type ResourceType, withChart } from '../../../machines/definition.ts'
import type { ResourceRow } from '../../../machines/row.ts'
import type { Rule } from '../rules.ts'
import type { ExploreOptions } from './configuration.ts'

type Guards = { readonly [name: string]: (...args: never[]) => boolean }

const guardsOff: { readonly [R in Rule]?: Guards } = {
  // Neither who holds the row nor whether the node is up is asked.
  R1: { isClaimHolder: () => true, isServiceUp: () => true },
  // `host@backend` alone tells whose claim it is; a cleaner takes those of every life.
  R2: {
    isClaimOver: (({ context, event }: { context: ResourceRow; event: { worker: string } }) =>
      context.worker === event.worker && context.incarnation !== null) as never,
  },
}

/** The type with the guards of a rule replaced; the same where the rule is no guard of it. */
export function switchedOff(rule: Rule, type: ResourceType): ResourceType {
  const guards = guardsOff[rule]
  if (guards === undefined) return type
  return withChart(type.table, type.chart.provide({ guards: guards as never }) as AnyStateMachine)
}

/** The smallest configuration in which the rule, switched off, is found. */
export function explorationOf(rule: Rule): ExploreOptions {
  const few = { nodes: 1, resources: 1, operations: 1, schedulers: 1, crashes: 0 } as const
  const creates = { ...few, only: ['create'] } as const
  const lives = { ...few, only: ['create', 'delete'] } as const
  switch (rule) {
    case 'R1':
      return { ...lives, nodes: 2, operations: 2, pauses: 1 }
    case 'R2':
      return { ...creates, crashes: 1, operations: 1 }
    case 'R3':
      return { ...creates, lostDoorbells: 1 }
    case 'R4':
      return { ...lives, operations: 2, duplicatedDoorbells: 1 }
    case 'R5':
      return { ...creates, pauses: 1, crashes: 1 }
    case 'R6':
      return { ...creates, nodes: 2, crashes: 2 }
    case 'R7':
      return { ...few, only: ['create', 'extend', 'delete'], operations: 3 }
    case 'R8':
      return { ...lives, nodes: 2, operations: 2, pauses: 1, driver: { fences: false } }
    case 'R9':
      return { ...creates, resources: 2, operations: 2, crashes: 1, mailbox: 1 }
    case 'R11':
      return { ...creates, twins: 1 }
    case 'R17':
      return { ...creates, nodes: 2, clusterIsHost: true, driver: { fences: false } }
    case 'R18':
      return {
        ...lives,
        operations: 2,
        crashes: 1,
        process: 'one',
        driver: { fences: false, stubborn: true },
      }
  }
}

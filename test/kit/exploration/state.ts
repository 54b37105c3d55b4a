// The numbers that a state is made of, and the names of what can happen and of what must hold. What they mean is
// said here; how they come about is said by the files that make choices.

import { LIFE_STATES } from './lives.ts'

/** What is left of the budgets. */
export const LEFT = { operations: 0, crashes: 1, pauses: 2, lost: 3, duplicated: 4, failures: 5 } as const

/** A resource: its row, the backend's mark and object, its doorbell, and what it was last accepted for. */
export const RES = {
  body: 0,
  who: 1,
  incarnation: 2,
  fence: 3,
  host: 4,
  mark: 5,
  exists: 6,
  bell: 7,
  /** An administrator said what is true: the backend is not compared any more. */
  told: 8,
  asked: 9,
} as const
/** With R4 off: the row that the doorbell carries. */
export const CARRIED = { body: 0, who: 1, incarnation: 2, fence: 3, host: 4 } as const
export const SERVICE = { state: 0, incarnation: 1, cleaned: 2 } as const
/** `stands`: its beats stand still though it lives. `listed`: rows of its earlier lives still to clean. */
export const LIFE = { state: 0, incarnation: 1, stands: 2, listed: 3 } as const
/** A claim of a life, from the doorbell it took to the end of its finish. */
export const EXEC = { life: 0, incarnation: 1, resource: 2, phase: 3, fence: 4, what: 5 } as const
export const SCHEDULER = { busy: 0, listed: 1, left: 2, duties: 3 } as const
export const DUTY = { type: 0, host: 1, state: 2, incarnation: 3, cleaned: 4, over: 5 } as const
export const DUTY_SIZE = 6
/** With R7 off: an accept that was decided and is not written yet. */
export const CLIENT = { asked: 0, resource: 1, body: 2, who: 3, incarnation: 4, fence: 5, host: 6 } as const

export const PHASE = {
  claiming: 1,
  claimed: 2,
  driving: 3,
  effected: 4,
  finishing_done: 5,
  finishing_failed: 6,
} as const
/** What a claim is for: its operation, a cleanup without a method of the driver, or an undo. */
export const WHAT = { operation: 0, cleanup: 1, undo: 2 } as const
export const MARK_DOWN = 1
export const CLEAN = 2
export const CLEAN_AND_CLOSE = 3
export const SERVICE_STATES = ['absent', 'starting', 'up', 'down'] as const
export const STARTING = 1
export const UP = 2
export const DOWN = 3
export const ABSENT_LIFE = LIFE_STATES.indexOf('absent')
export const REGISTERING = LIFE_STATES.indexOf('registering')
export const UP_LIFE = LIFE_STATES.indexOf('up')
export const CLEANING_LIFE = LIFE_STATES.indexOf('cleaning')
export const SETTING_UP = LIFE_STATES.indexOf('setting_up')

/** The kinds of choices. `a`, `b` of each: see tell.ts, which words them. */
export const CHOICES = [
  'accept',
  'read for an accept',
  'write an accept',
  'ring again',
  'take',
  'take, and it comes again',
  'lose a doorbell',
  'claim',
  'begin',
  'effect',
  'settle',
  'fail',
  'finish',
  'crash',
  'start',
  'list own',
  'clean own',
  'join',
  'pause',
  'wake',
  'fence',
  'hear of its end',
  'sweep',
  'take up a duty',
  'clean',
  'clean and crash',
  'close',
  'crash a scheduler',
] as const
export type ChoiceKind = (typeof CHOICES)[number]
export const KIND = Object.fromEntries(CHOICES.map((name, i) => [name, i])) as {
  readonly [K in ChoiceKind]: number
}

export const INVARIANTS = [
  'one_worker',
  'rest_has_no_worker',
  'fence_grows',
  'finish_by_owner',
  'op_matches_row',
  'accept_at_rest',
  'cleaned_only_if_gone',
  'store_and_backend_agree',
  'all_at_rest',
] as const
export type Invariant = (typeof INVARIANTS)[number]

export const SOMETIMES = [
  'claim_lost',
  'cleanup_lost',
  'crash_before_claim',
  'crash_after_claim',
  'crash_after_effect_before_finish',
  'cleaner_crashed',
  'zombie_refused',
  'self_fenced',
  'doorbell_dropped',
  'requeued_elsewhere',
] as const
export type Sometimes = (typeof SOMETIMES)[number]

/** Told of each choice; `next` of the model holds the state it leads to. `progress`: no fault, no new demand. */
export type Visit = (kind: number, a: number, b: number, progress: boolean) => void

export interface Violation {
  readonly invariant: Invariant
  readonly message: string
}

export const CLIENTS = 2

/** A state would need more executions than it was laid out for: lay it out anew. */
export class NoRoom extends Error {}

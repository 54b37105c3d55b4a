// What the door answers with, as schemas, for the document and for whoever checks it. Fields may be added to
// answers; those that are named here stay.

import { z } from 'zod'
import type { ResourceType } from '../index.ts'

const count = z.int().min(0)
const millis = z.number()
const text = z.string()

const ref = z.looseObject({ kind: text, id: text })
const rowError = z.looseObject({ code: text, message: text, at: millis }).nullable()
const progress = z.looseObject({ fraction: z.number().min(0).max(1), note: text, at: millis }).nullable()

const operation = z.looseObject({
  name: text,
  input: z.record(z.string(), z.unknown()),
  request_id: text.nullable(),
  accepted_at: millis,
  accepted_version: count,
  progress,
  cancel_requested_at: millis.nullable(),
  history: z.array(
    z.looseObject({
      worker: text,
      incarnation: count,
      fence: count,
      at: millis,
      not_here: z.looseObject({ topic: text, message: text }).optional(),
    }),
  ),
  cleanup: z.looseObject({ policy: text, reason: text, failures: count, not_before: millis }).nullable(),
  topic: text.optional(),
  placed: z.literal(true).optional(),
})

/** One schema a type, however often it is asked for: the document tells them apart by identity. */
function once<S extends z.ZodType>(make: (type: ResourceType) => S): (type: ResourceType) => S {
  const made = new WeakMap<ResourceType, S>()
  return (type) => {
    const schema = made.get(type) ?? make(type)
    made.set(type, schema)
    return schema
  }
}

/** A resource of a kind. */
export const rowOf = once(({ kind, statuses }) =>
  z.looseObject({
    kind: z.literal(kind),
    id: text,
    version: count,
    status: z.enum(statuses.all),
    previous_status: z.enum(statuses.all).nullable(),
    worker: text.nullable(),
    incarnation: count.nullable(),
    operation: operation.nullable(),
    cluster: text,
    host: text.nullable(),
    held_by: ref.extend({ fence: count }).nullable(),
    fence: count,
    attempts: count,
    children: z.record(z.string(), count),
    data: z.record(z.string(), z.unknown()),
    error: rowError,
    created_at: millis,
    updated_at: millis,
  }),
)

/** A list of a kind. */
export const listOf = once((type) => z.looseObject({ rows: z.array(rowOf(type)), next: text.nullable() }))

const settlement = (row: z.ZodType, outcome: z.ZodType, error: z.ZodType) =>
  z.looseObject({ id: text, repeated: z.boolean(), outcome, error, row })

/** An operation that is accepted and goes on. */
export const acceptedOf = once((type) => settlement(rowOf(type), z.literal('accepted'), z.null()))

/** An operation that is over. */
export const settledOf = once((type) => settlement(rowOf(type), z.enum(['done', 'failed']), rowError))

export const node = z.looseObject({
  host: text,
  cluster: text,
  backend: text,
  address: text,
  incarnation: count,
  state: z.enum(['starting', 'up', 'down']),
  cleanup_done: z.boolean(),
  disabled: z.boolean(),
  disabled_reason: text.nullable(),
  here: z.looseObject({ state: text, working_on: z.array(ref) }).nullable(),
  given_up: text.nullable(),
})

export const cluster = z.looseObject({
  topic: text,
  up: z.boolean(),
  disabled: z.boolean(),
  disabled_reason: text.nullable(),
  frozen: z.boolean(),
  frozen_reason: text.nullable(),
  capabilities: z.looseObject({}).nullable(),
  reported_at: millis.nullable(),
  pending_gib: z.number(),
  nodes: z.array(text),
  queued: count,
})

export const cleanupReport = z.looseObject({
  cleaning: z.array(z.looseObject({ node, rows: count })),
  unavailable: z.array(z.looseObject({ node, why: text })),
  retried: z.array(ref),
})

export const renaming = z.looseObject({
  from: text,
  to: text,
  rows: z.record(z.string(), count),
  nodes: z.array(text),
  done: z.boolean(),
})

export const stuck = z.looseObject({
  kind: text,
  id: text,
  reason: text,
  message: text,
  what_to_do: text,
  since: millis,
  failures: count.optional(),
  next_try_at: millis.nullable().optional(),
})

export const quota = z.looseObject({
  kind: z.literal('quota'),
  id: text,
  version: count,
  limits: z.record(z.string(), z.number()),
  used: z.record(z.string(), z.number()),
})

export const index = z.looseObject({
  name: z.literal('rekindle'),
  state: text,
  most_wait_s: z.number(),
  kinds: z.array(
    z.looseObject({
      kind: text,
      statuses: z.array(text),
      operations: z.array(
        z.looseObject({
          name: text,
          from: z.union([text, z.array(text)]),
          description: text.nullable(),
        }),
      ),
    }),
  ),
  routes: z.array(z.looseObject({ route: text, what: text })),
})

export const readiness = z.looseObject({ ready: z.boolean(), reasons: z.array(text) })

/** Every error, whatever its status. */
export const failure = z.looseObject({
  error: z.looseObject({
    code: text,
    message: text,
    issues: z.array(z.looseObject({ path: text, message: text })).optional(),
    resource: ref.optional(),
    expected: z.array(text).optional(),
    found: text.optional(),
    guard: text.nullable().optional(),
  }),
})

/** Those that have a name in the document. */
export function named(kinds: readonly ResourceType[]): readonly (readonly [string, z.ZodType])[] {
  return [
    ['index', index],
    ['node', node],
    ['cluster', cluster],
    ['stuck', stuck],
    ['quota', quota],
    ['readiness', readiness],
    ['failure', failure],
    ...kinds.flatMap((type) => [
      [`resource.${type.kind}`, rowOf(type)] as const,
      [`list.${type.kind}`, listOf(type)] as const,
      [`accepted.${type.kind}`, acceptedOf(type)] as const,
      [`settled.${type.kind}`, settledOf(type)] as const,
    ]),
  ]
}

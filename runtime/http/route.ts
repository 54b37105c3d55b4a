// What a route is: one entry that says how it is asked, what it answers, and who does it. The router, the index
// and the OpenAPI document are all made from these entries, so none of them can know a route the others miss.

import type { z } from 'zod'
import type { Environment, Log, ResourceType, Runtime } from '../index.ts'
import type { AnswerCode } from './answer.ts'
import type { Limit } from './limits.ts'
import { queries } from './query.ts'

/** What the routes work with. */
export interface DoorPorts {
  readonly runtime: Runtime
  readonly environment: Environment
  readonly log: Log
  /** Calls that change something, while they are under way. */
  readonly calls: Limit
  /** Requests that wait for the end of an operation. */
  readonly waits: Limit
}

/** A request as its route is given it: parameters decoded, query and body checked. */
export interface Asked<Query = Readonly<Record<string, unknown>>> {
  readonly request: Request
  readonly params: Readonly<Record<string, string>>
  readonly query: Query
  /** Undefined where there is none. */
  readonly body: object | undefined
}

/** A schema by its name in the document; or an answer that is no JSON. */
export type Shape = { readonly schema: z.ZodType } | { readonly media: string }

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** `/resources/:kind/:id`. */
  readonly path: string
  /** Names it in the document; of a route that stands for many, what follows the kind. */
  readonly name: string
  readonly does: string
  /** Stands for a route of each kind, or of each operation of each kind. */
  readonly each?: 'kind' | 'create' | 'operation'
  readonly query: z.ZodObject
  /** Query parameters and headers besides, for the document. */
  readonly headers?: z.ZodObject
  /** What the body must be; absent: it must be empty. Of `create` and `operation` the table says it. */
  readonly body?: z.ZodType
  /** Good answers by status. */
  readonly answers: { readonly [status: number]: (type: ResourceType | null) => Shape }
  /** Codes of its errors, besides those that any route may answer. */
  readonly errors: readonly AnswerCode[]
  /** No token is asked for. */
  readonly isOpen?: true
  handle(asked: Asked<never>): Promise<Response> | Response
}

type Given<Q extends z.ZodObject> = Omit<Route, 'query' | 'handle'> & {
  readonly query?: Q
  handle(asked: Asked<z.output<Q>>): Promise<Response> | Response
}

/** A route whose handler is given the query as its schema has it; without one, there are no parameters. */
export function route<Q extends z.ZodObject = typeof queries.none>(given: Given<Q>): Route {
  return { query: queries.none, ...given } as Route
}

/** Errors of whatever asks the runtime. */
export const READS = ['store_lost', 'stopped'] as const satisfies readonly AnswerCode[]

/** Errors of whatever changes something. */
export const WRITES = [...READS, 'store_refused', 'too_many_calls'] as const satisfies readonly AnswerCode[]

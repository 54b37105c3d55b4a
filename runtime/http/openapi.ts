// The OpenAPI 3.1 document: every route as it is for the given types, an entry each kind and operation, from the
// very schemas that check requests. A type's own schema that can't be said as JSON Schema is said to be what
// it is to us, any object: its own check decides.

import { z } from 'zod'
import type { ResourceType } from '../index.ts'
import { type AnswerCode, statusOf } from './answer.ts'
import { MOST_BODY_BYTES } from './body.ts'
import type { Route } from './route.ts'
import { failure, named } from './shapes.ts'

type Json = { readonly [name: string]: unknown }

/** What is checked before a route is asked, or goes wrong whatever the route. */
const ANYWHERE: readonly AnswerCode[] = ['bad_input', 'bad_request', 'foreign', 'internal']
const WITH_BODY: readonly AnswerCode[] = ['bad_json', 'body_too_large', 'wrong_content_type']

const WORDS: Readonly<Record<number, string>> = {
  400: 'the request makes no sense; `issues` names the fields',
  401: 'a token is needed, or it is another one',
  403: 'asked from a page or under a name of elsewhere',
  404: 'there is no such thing',
  409: 'refused; where the state of something says no, `expected` and `found` tell what and why',
  410: 'the offset is too old: those changes are no longer kept',
  413: `the body has more than ${MOST_BODY_BYTES} bytes`,
  415: 'the body is not JSON',
  429: 'too much is under way; nothing was done, try again after Retry-After',
  500: 'a fault of the server; its log has it',
  503: "it can't be done just now; nothing was changed unless a write was cut off, in which case a request id makes asking again safe",
}

const PATH_PARAMETERS: Readonly<Record<string, Json>> = {
  kind: { type: 'string' },
  id: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$' },
  operation: { type: 'string' },
  node: { type: 'string', description: '`host`, or `host@backend` where several have it' },
  topic: { type: 'string', description: '`cluster@backend`' },
  project: { type: 'string', pattern: '^[A-Za-z0-9_.:-]{1,128}$' },
}

/** A route as it is for one kind, or for one operation of it. */
interface Entry {
  readonly route: Route
  readonly type: ResourceType | null
  readonly operation: string | null
}

/**
 * The document of these routes for these types.
 *
 * @example
 * const { paths } = documentOf(routes, [volume], false)
 * paths['/resources/volume/{id}/extend'].post
 */
export function documentOf(
  routes: readonly Route[],
  kinds: readonly ResourceType[],
  hasToken: boolean,
): { readonly openapi: string; readonly paths: { readonly [path: string]: Json } } & Json {
  const components = new Components(kinds)
  const paths: { [path: string]: { [method: string]: Json } } = {}
  for (const entry of routes.flatMap((route) => entriesOf(route, kinds))) {
    const path = pathOf(entry)
    paths[path] ??= {}
    paths[path][entry.route.method.toLowerCase()] = operationOf(entry, components, hasToken)
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'rekindle',
      version: '1',
      description: 'Long-running operations on resources. Answers may get further fields.',
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: components.schemas,
      ...(hasToken && { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } }),
    },
    ...(hasToken && { security: [{ token: [] }] }),
  }
}

function entriesOf(route: Route, kinds: readonly ResourceType[]): Entry[] {
  if (route.each === undefined) return [{ route, type: null, operation: null }]
  if (route.each !== 'operation') return kinds.map((type) => ({ route, type, operation: null }))
  return kinds.flatMap((type) =>
    Object.entries(type.table.operations)
      .filter(([, { from }]) => from !== 'new')
      .map(([operation]) => ({ route, type, operation })),
  )
}

function pathOf({ route, type, operation }: Entry): string {
  return route.path
    .split('/')
    .map((part) => {
      if (part === ':kind' && type !== null) return type.kind
      if (part === ':operation' && operation !== null) return operation
      return part.startsWith(':') ? `{${part.slice(1)}}` : part
    })
    .join('/')
}

function operationOf(entry: Entry, components: Components, hasToken: boolean): Json {
  const { route, type, operation } = entry
  const body = bodyOf(entry, components)
  const does =
    operation === null ? route.does : (type!.table.operations[operation]!.description ?? route.does)
  return {
    operationId: type === null ? route.name : `${type.kind}.${operation ?? route.name}`,
    summary: does,
    ...(type !== null && { tags: [type.kind] }),
    parameters: parametersOf(entry),
    ...(body !== null && { requestBody: body }),
    responses: { ...answersOf(entry, components), ...errorsOf(route, components, hasToken) },
    ...(hasToken && route.isOpen && { security: [] }),
  }
}

function parametersOf(entry: Entry): Json[] {
  const { route, type } = entry
  const inPath = [...pathOf(entry).matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: PATH_PARAMETERS[name!]!,
  }))
  const narrowed: { [name: string]: Json } = {}
  if (route.each === 'create') narrowed.operation = { enum: createsOf(type!) }
  if (route.name === 'list') narrowed.status = { enum: type!.statuses.all }
  const listed = (schema: z.ZodObject | undefined, where: string) =>
    Object.entries((schema === undefined ? {} : jsonOf(schema)).properties ?? {}).map(([name, shape]) => ({
      name,
      in: where,
      required: false,
      schema: narrowed[name] === undefined ? shape : { type: 'string', ...narrowed[name] },
    }))
  return [...inPath, ...listed(route.query, 'query'), ...listed(route.headers, 'header')]
}

function createsOf({ table }: ResourceType): string[] {
  return Object.keys(table.operations).filter((name) => table.operations[name]!.from === 'new')
}

/** The body of a request; null where there is none. */
function bodyOf({ route, type, operation }: Entry, components: Components): Json | null {
  const inputOf = (name: string) => {
    const { input } = type!.table.operations[name]!
    const schema = input ?? (type!.table.operations[name]!.from === 'new' ? type!.table.data : undefined)
    return schema === undefined ? null : components.ofUser(`input.${type!.kind}.${name}`, schema)
  }
  const schemas =
    route.each === 'create'
      ? createsOf(type!).map(inputOf)
      : route.each === 'operation'
        ? [inputOf(operation!)]
        : [route.body === undefined ? null : jsonOf(route.body)]
  const given = schemas.filter((schema) => schema !== null)
  if (given.length === 0) return null
  return {
    required: given.every((schema) => components.needsAnything(schema)),
    content: { 'application/json': { schema: given.length === 1 ? given[0] : { anyOf: given } } },
  }
}

function answersOf({ route, type }: Entry, components: Components): { [status: string]: Json } {
  const answers = Object.entries(route.answers).map(([status, shapeOf]) => {
    const shape = shapeOf(type)
    const content =
      'media' in shape
        ? { [shape.media.split(';')[0]!]: { schema: { type: 'string' } } }
        : { 'application/json': { schema: components.ofAnswer(shape.schema) } }
    const description = status === '202' ? 'accepted: it is durable, and goes on' : 'done'
    return [status, { description: status === '503' ? 'not ready' : description, content }] as const
  })
  return Object.fromEntries(answers)
}

function errorsOf(route: Route, components: Components, hasToken: boolean): { [status: string]: Json } {
  const codes = new Set([...ANYWHERE, ...route.errors])
  if (route.method !== 'GET') for (const code of WITH_BODY) codes.add(code)
  if (hasToken && !route.isOpen) codes.add('unauthorized')
  const byStatus = new Map<number, AnswerCode[]>()
  for (const code of codes) {
    const status = statusOf(code)!
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  const answers = [...byStatus]
    .sort(([a], [b]) => a - b)
    .map(([status, of]) => {
      const code = { properties: { error: { properties: { code: { enum: of } } } } }
      const schema = { allOf: [components.ofAnswer(failure), code] }
      const later = { 'Retry-After': { schema: { type: 'string' }, description: 'seconds' } }
      return [
        String(status),
        {
          description: WORDS[status]!,
          ...((status === 429 || status === 503) && { headers: later }),
          content: { 'application/json': { schema } },
        },
      ] as const
    })
  return Object.fromEntries(answers)
}

/** A schema of ours as what a request must fit. */
function jsonOf(schema: z.ZodType): Json & { readonly properties?: Json } {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return json as Json
}

/** The schemas that have a name in the document. */
class Components {
  readonly schemas: { [name: string]: Json } = {}
  readonly #registry = z.registry<{ id: string }>()
  readonly #names = new Map<z.ZodType, string>()

  constructor(kinds: readonly ResourceType[]) {
    for (const [name, schema] of named(kinds)) {
      this.#registry.add(schema, { id: name })
      this.#names.set(schema, name)
    }
    const { schemas } = z.toJSONSchema(this.#registry, { uri: placeOf })
    for (const [name, { $schema: _, $id: __, id: ___, ...schema }] of Object.entries(schemas))
      this.schemas[name] = schema
  }

  ofAnswer(schema: z.ZodType): Json {
    const name = this.#names.get(schema)
    if (name !== undefined) return { $ref: placeOf(name) }
    const { $schema: _, $defs: __, ...json } = z.toJSONSchema(schema, { metadata: this.#registry })
    return moved(json, '#/$defs/', placeOf('')) as Json
  }

  /** A schema of a type's table: any Standard Schema. */
  ofUser(name: string, schema: unknown): Json {
    this.schemas[name] ??= jsonOfStandard(schema, placeOf(name))
    return { $ref: placeOf(name) }
  }

  /** Whether an empty object would be refused. */
  needsAnything({ $ref }: Json): boolean {
    const schema = typeof $ref === 'string' ? this.schemas[$ref.slice(placeOf('').length)] : undefined
    return Array.isArray(schema?.required) && schema.required.length > 0
  }
}

const placeOf = (name: string) => `#/components/schemas/${name}`

const ANY_OBJECT: Json = {
  type: 'object',
  description: 'An object that the schema of its type checks; it has no form that could be given here.',
}

/** `here`: where it will stand, for what it says of itself. */
function jsonOfStandard(schema: unknown, here: string): Json {
  const standard = (
    schema as { '~standard'?: { jsonSchema?: { input?: (asked: object) => Json } } } | null
  )?.['~standard']
  try {
    const said = standard?.jsonSchema?.input?.({ target: 'draft-2020-12' })
    if (typeof said !== 'object' || said === null) return ANY_OBJECT
    const { $schema: _, $id: __, ...json } = said
    return moved(json, '#', here) as Json
  } catch {
    return ANY_OBJECT
  }
}

/** The same with its references moved along. */
function moved(json: unknown, from: string, to: string): unknown {
  if (Array.isArray(json)) return json.map((inner) => moved(inner, from, to))
  if (typeof json !== 'object' || json === null) return json
  return Object.fromEntries(
    Object.entries(json).map(([name, inner]) => [
      name,
      name === '$ref' && typeof inner === 'string' && inner.startsWith(from)
        ? to + inner.slice(from.length)
        : moved(inner, from, to),
    ]),
  )
}

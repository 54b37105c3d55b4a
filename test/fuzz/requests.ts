// Requests made from a door's own OpenAPI document: what it says may be sent, and the same spoiled in all the
// ways that a client, a proxy or an attacker finds. A request is data: ids that are not known yet stand in it as
// names, and are filled in when it is sent, so that one seed makes one run.

import fc from 'fast-check'
import type { DocumentedOperation, DocumentedParameter, OpenApi } from '../door/document.ts'

type Schema = { readonly [name: string]: unknown }

export interface FuzzedRequest {
  readonly method: string
  /** Segments, not yet encoded. */
  readonly path: readonly string[]
  readonly query: readonly (readonly [string, string])[]
  readonly headers: readonly (readonly [string, string])[]
  /** Bytes of the body as text; null for none. */
  readonly body: string | null
  /** The path is sent as it is, encoded by nobody. */
  readonly isRaw: boolean
  /** How it was spoiled; empty for one that the document allows. */
  readonly spoiled: readonly string[]
}

/** Time that passes, and no request. */
export interface Pause {
  readonly pause_ms: number
}

export type Step = FuzzedRequest | Pause

/** Stands for the id of the nth resource of a kind that is known. */
const known = (kind: string, nth: number): string => `{known ${kind} ${nth}}`
const KNOWN = /\{known ([\w-]+) (\d+)\}/g

/** Ids by kind, in the order in which they were heard of. */
export type Ids = ReadonlyMap<string, readonly string[]>

/** With the names of resources filled in: those of `ids`, or one that is nobody's. */
export function filled(text: string, ids: Ids): string {
  return text.replace(KNOWN, (_, kind: string, nth: string) => {
    const of = ids.get(kind) ?? []
    return of[Number(nth) % Math.max(1, of.length)] ?? 'nobody'
  })
}

/** `volume_id` and `source_volume_id` name a volume. */
const ID_FIELD = /(?:^|_)([a-z]+)_id$/

const wellFormed = (text: string) => Buffer.from(text).toString() === text

/** Text that programs stumble over. */
const odd = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    '.',
    '..',
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    'then',
  ),
  fc.constantFrom(
    '\0',
    '\r\nx: y',
    '../../etc/passwd',
    '%00',
    '%2e%2e%2f',
    '\u202e',
    'ﬀ',
    'İ',
    '\ufeff',
    '𝕏',
    '{}',
    '[object Object]',
  ),
  fc.constantFrom(
    'NaN',
    'Infinity',
    '-1',
    '1e400',
    '0x10',
    'null',
    'true',
    "' OR 1=1 --",
    '{{7*7}}',
    '<script>',
  ),
  fc.constantFrom(
    'service',
    'beat',
    'request',
    'quota',
    'cluster',
    'new',
    'gone',
    'previous',
    'create',
    'cancel',
  ),
  fc.string({ unit: 'binary', maxLength: 12 }).filter(wellFormed),
  fc.integer({ min: 100, max: 5_000 }).map((length) => 'x'.repeat(length)),
)

const oddValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -1,
    1e308,
    -1e308,
    1.5,
    Number.MAX_SAFE_INTEGER + 2,
    [],
    {},
    [[]],
    '',
  ),
  odd,
  fc.array(fc.integer(), { maxLength: 3 }),
  fc.dictionary(odd, fc.integer(), { maxKeys: 2 }),
)

/** Values that a JSON Schema of the document lets through. */
class Values {
  readonly #document: OpenApi
  constructor(document: OpenApi) {
    this.#document = document
  }

  /** Mostly of something that is there. */
  id(kind: string): fc.Arbitrary<string> {
    return fc.oneof(
      { arbitrary: fc.nat(3).map((nth) => known(kind, nth)), weight: 19 },
      { arbitrary: fc.constant('nobody'), weight: 1 },
    )
  }

  of(schema: Schema, name = '', depth = 0): fc.Arbitrary<unknown> {
    if (typeof schema.$ref === 'string') return this.of(this.#resolved(schema.$ref), name, depth)
    if ('const' in schema) return fc.constant(schema.const)
    if (Array.isArray(schema.enum)) return fc.constantFrom(...(schema.enum as unknown[]))
    const choices = (schema.anyOf ?? schema.oneOf) as Schema[] | undefined
    if (choices !== undefined) return fc.oneof(...choices.map((choice) => this.of(choice, name, depth)))
    const types = (Array.isArray(schema.type) ? schema.type : [schema.type]) as (string | undefined)[]
    return fc.oneof(...types.map((type) => this.#ofType(type, schema, name, depth)))
  }

  #resolved($ref: string): Schema {
    const path = $ref.replace('#/', '').split('/')
    return path.reduce<unknown>((at, part) => (at as Schema)[part], this.#document) as Schema
  }

  #ofType(type: string | undefined, schema: Schema, name: string, depth: number): fc.Arbitrary<unknown> {
    switch (type) {
      case 'string':
        return this.#text(schema, name)
      case 'integer':
      case 'number':
        return number(schema, type === 'integer')
      case 'boolean':
        return fc.boolean()
      case 'null':
        return fc.constant(null)
      case 'array':
        return fc.array(this.of((schema.items ?? {}) as Schema, name, depth + 1), {
          maxLength: depth > 2 ? 0 : 3,
        })
      case 'object':
        return this.#object(schema, depth)
      default:
        return fc.jsonValue({ maxDepth: 1 })
    }
  }

  #text({ minLength, maxLength, pattern }: Schema, name: string): fc.Arbitrary<string> {
    // An id is mostly that of something that is there.
    const [, kind] = ID_FIELD.exec(name) ?? []
    if (kind !== undefined && name !== 'request_id') return this.id(kind)
    if (typeof pattern === 'string') return fc.stringMatching(new RegExp(pattern), { maxLength: 40 })
    const min = (minLength as number | undefined) ?? 0
    const max = Math.max(min, Math.min((maxLength as number | undefined) ?? 20, 20))
    return fc.string({ minLength: min, maxLength: max })
  }

  #object(
    { properties = {}, required = [], additionalProperties }: Schema,
    depth: number,
  ): fc.Arbitrary<unknown> {
    const named = Object.entries(properties as Record<string, Schema>)
    const must = new Set(required as string[])
    const fields = Object.fromEntries(named.map(([name, schema]) => [name, this.of(schema, name, depth + 1)]))
    const known = someOf(fields, must)
    if (typeof additionalProperties !== 'object' || additionalProperties === null || named.length > 0)
      return known
    return fc.dictionary(
      fc.constantFrom('volumes', 'gigabytes', 'snapshots', 'backups', 'backup_gigabytes'),
      this.of(additionalProperties as Schema, '', depth + 1),
      { maxKeys: 2 },
    )
  }
}

/** Of what need not be there a quarter is, or most would be at odds with the rest. */
function someOf<T>(
  fields: Readonly<Record<string, fc.Arbitrary<T>>>,
  must: ReadonlySet<string>,
): fc.Arbitrary<Record<string, T>> {
  const kept = Object.fromEntries(
    Object.keys(fields).map((name) => [
      name,
      must.has(name) ? fc.constant(true) : fc.nat(3).map((n) => n === 0),
    ]),
  )
  return fc
    .tuple(fc.record(fields), fc.record(kept))
    .map(([all, keep]) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => keep[name] === true)),
    ) as fc.Arbitrary<Record<string, T>>
}

function number(schema: Schema, isWhole: boolean): fc.Arbitrary<number> {
  const { minimum, maximum, exclusiveMinimum } = schema as Record<string, number | undefined>
  const min = Math.max(minimum ?? exclusiveMinimum ?? -1_000, -1e6)
  const max = Math.min(maximum ?? 1_000, 1e6)
  if (isWhole) return fc.integer({ min: Math.ceil(min), max: Math.floor(max) })
  return fc.oneof(
    fc.integer({ min: Math.ceil(min), max: Math.min(Math.floor(max), Math.ceil(min) + 8) }),
    fc.double({ min, max, noNaN: true }),
  )
}

interface Place {
  readonly method: string
  readonly pattern: string
  readonly operation: DocumentedOperation
}

/** One request after another, with time between them. */
export function stepsFrom(
  document: OpenApi,
  nodes: readonly string[],
  topics: readonly string[],
): fc.Arbitrary<Step[]> {
  const places = Object.entries(document.paths).flatMap(([pattern, methods]) =>
    Object.entries(methods).map(
      ([method, operation]): Place => ({ method: method.toUpperCase(), pattern, operation }),
    ),
  )
  const values = new Values(document)
  const allowed = fc.oneof(...places.map((place) => fromPlace(place, values, { node: nodes, topic: topics })))
  // What makes things comes first and often, or there would be nothing to be refused about.
  const makes = places.filter(
    ({ method, pattern }) => method === 'POST' && /^\/resources\/\w+$/.test(pattern),
  )
  const making = fc.oneof(...makes.map((place) => fromPlace(place, values, { node: nodes, topic: topics })))
  const pause = fc.constantFrom(10, 500, 20_000).map((pause_ms): Step => ({ pause_ms }))
  const step = fc.oneof(
    { arbitrary: making, weight: 2 },
    { arbitrary: allowed, weight: 5 },
    { arbitrary: spoiled(allowed), weight: 7 },
    { arbitrary: pause, weight: 1 },
  )
  return fc
    .tuple(
      fc.array(making as fc.Arbitrary<Step>, { maxLength: 5, size: 'max' }),
      fc.array(step as fc.Arbitrary<Step>, { minLength: 1, maxLength: 24, size: 'max' }),
    )
    .map(([first, then]) => [...first, ...then])
}

function fromPlace(
  { method, pattern, operation }: Place,
  values: Values,
  names: { readonly [parameter: string]: readonly string[] },
): fc.Arbitrary<FuzzedRequest> {
  const given = (where: string) => operation.parameters.filter((parameter) => parameter.in === where)
  const some = (parameters: readonly DocumentedParameter[]) =>
    someOf(
      Object.fromEntries(
        parameters.map(({ name, schema }) => [
          name,
          name === 'cluster' ? fc.constantFrom(...names.topic!) : values.of(schema, name).map(String),
        ]),
      ),
      new Set(),
    )
  const inPath = fc.record(
    Object.fromEntries(
      given('path').map(({ name, schema }) => [
        name,
        name === 'id'
          ? values.id(pattern.split('/')[2]!)
          : names[name] === undefined
            ? values.of(schema, name)
            : fc.constantFrom(...names[name]!),
      ]),
    ) as Record<string, fc.Arbitrary<unknown>>,
  )
  const schema = operation.requestBody?.content['application/json']?.schema
  const body =
    schema === undefined ? fc.constant(undefined) : fc.option(values.of(schema), { freq: 9, nil: undefined })
  return fc
    .record({ inPath, query: some(given('query')), headers: some(given('header')), body })
    .map(({ inPath, query, headers, body }) => ({
      method,
      path: pattern
        .slice(1)
        .split('/')
        .map((part) => part.replace(/^\{(\w+)\}$/, (_, name: string) => String(inPath[name]))),
      query: Object.entries(query).filter(([, value]) => wellFormed(value)),
      headers: [
        ...Object.entries(headers).filter(
          // Two ids of one request are refused.
          ([name, value]) =>
            /^[\x21-\x7e]*$/.test(value) && !(name === 'request-id' && 'request_id' in query),
        ),
        ...(body === undefined ? [] : [['content-type', 'application/json'] as const]),
      ],
      body: body === undefined ? null : JSON.stringify(body),
      isRaw: false,
      spoiled: [],
    }))
}

type Spoil = (request: FuzzedRequest) => FuzzedRequest

function spoiled(from: fc.Arbitrary<FuzzedRequest>): fc.Arbitrary<FuzzedRequest> {
  const spoil = fc.oneof(
    ...Object.entries(spoilers).map(([name, of]) => of.map((run) => [name, run] as const)),
  )
  return fc
    .tuple(from, fc.array(spoil, { minLength: 1, maxLength: 3 }))
    .map(([request, spoils]) =>
      spoils.reduce<FuzzedRequest>(
        (at, [name, run]) => ({ ...run(at), spoiled: [...at.spoiled, name] }),
        request,
      ),
    )
}

const withJson = (request: FuzzedRequest, body: string): FuzzedRequest => ({
  ...request,
  // A body makes it a request that may carry one.
  method: request.method === 'GET' ? 'POST' : request.method,
  headers: [
    ...request.headers.filter(([name]) => name !== 'content-type'),
    ['content-type', 'application/json'],
  ],
  body,
})

/** The body's object with one thing of it changed. */
const changed =
  (run: (fields: Record<string, unknown>) => unknown): Spoil =>
  (request) => {
    // What is nested very deep can't be worded again.
    if ((request.body?.length ?? 0) > 10_000) return request
    let fields: unknown
    try {
      fields = JSON.parse(request.body ?? '{}')
    } catch {
      return request
    }
    if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return request
    return withJson(request, JSON.stringify(run(fields as Record<string, unknown>)) ?? '')
  }

const at = (list: readonly string[], nth: number): string | undefined => list[nth % Math.max(1, list.length)]

const spoilers: Readonly<Record<string, fc.Arbitrary<Spoil>>> = {
  method: fc
    .constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD', 'PROPFIND', 'get')
    .map((method) => (request) => ({ ...request, method })),
  'content type': fc
    .constantFrom(
      '',
      'text/plain',
      'application/jsonx',
      'application/x-www-form-urlencoded',
      'APPLICATION/JSON; charset=latin1',
      'multipart/form-data; boundary=x',
      'application/merge-patch+json',
    )
    .map((type) => (request) => ({
      ...request,
      headers: [
        ...request.headers.filter(([name]) => name !== 'content-type'),
        ...(type === '' ? [] : [['content-type', type] as const]),
      ],
    })),
  'field value': fc.tuple(fc.nat(9), oddValue).map(([nth, value]) =>
    changed((fields) => {
      const name = at(Object.keys(fields), nth) ?? 'name'
      return { ...fields, [name]: value }
    }),
  ),
  'field gone': fc.nat(9).map((nth) =>
    changed((fields) => {
      const name = at(Object.keys(fields), nth)
      return Object.fromEntries(Object.entries(fields).filter(([of]) => of !== name))
    }),
  ),
  'field name': fc.tuple(odd, oddValue).map(
    ([name, value]): Spoil =>
      (request) => {
        const inner = (request.body ?? '{}').replace(/^\{/, '').replace(/\}$/, '')
        // As text: in an object of the language some names would mean something.
        const field = `${JSON.stringify(name)}:${JSON.stringify(value) ?? 'null'}`
        return withJson(request, `{${field}${inner === '' ? '' : `,${inner}`}}`)
      },
  ),
  'no object': fc
    .constantFrom('[]', 'null', 'true', '1', '"text"', '[{}]', '')
    .map((body) => (request: FuzzedRequest) => withJson(request, body)),
  'broken JSON': fc
    .oneof(
      fc.constantFrom(
        '{',
        '{"a":',
        '{"a":1,}',
        "{'a':1}",
        '{"a":"\\ud800"}',
        '{"a":1}{"b":2}',
        '\ufeff{}',
        '{"a":01}',
        '{"a":NaN}',
        'undefined',
      ),
      fc.string({ unit: 'binary', maxLength: 30 }),
    )
    .map((body) => (request: FuzzedRequest) => withJson(request, wellFormed(body) ? body : '\0')),
  'deep body': fc
    .constantFrom(63, 64, 65, 20_000)
    .map(
      (depth) => (request: FuzzedRequest) =>
        withJson(request, `{"name":${'['.repeat(depth)}${']'.repeat(depth)}}`),
    ),
  'large body': fc
    .constantFrom(65_000, 1 << 20, (1 << 20) + 1)
    .map((length) => (request: FuzzedRequest) => withJson(request, `{"name":"${'x'.repeat(length)}"}`)),
  segment: fc.tuple(fc.nat(9), odd).map(
    ([nth, text]): Spoil =>
      (request) => ({
        ...request,
        path: request.path.map((part, i) => (i === nth % request.path.length ? text : part)),
      }),
  ),
  'more path': odd.map(
    (text): Spoil =>
      (request) => ({ ...request, path: [...request.path, text] }),
  ),
  'less path': fc.constant<Spoil>((request) => ({ ...request, path: request.path.slice(0, -1) })),
  'raw path': fc
    .constantFrom(
      '//',
      '/./nodes',
      '/nodes/',
      '/NODES',
      '/resources//volume',
      '/nodes/%',
      '/nodes/%ff/kill',
      '/resources/volume/%00',
      '/%2e%2e/nodes',
      '/resources/volume;x=1',
      '/resources/volume/a%2fb/delete',
      '/nodes/h1%40file/kill%20',
      '/nodes#x',
      '/resources/volume/%E2%80%AE/extend',
    )
    .map((path) => (request: FuzzedRequest) => ({ ...request, isRaw: true, path: [path] })),
  parameter: fc.tuple(odd, odd).map(
    ([name, value]): Spoil =>
      (request) => ({
        ...request,
        query: [...request.query, [name, value]],
      }),
  ),
  'parameter value': fc
    .tuple(
      fc.constantFrom(
        'wait',
        'limit',
        'after',
        'from',
        'status',
        'cluster',
        'request_id',
        'operation',
        'kind',
        'id',
      ),
      odd,
    )
    .map(
      ([name, value]): Spoil =>
        (request) => ({ ...request, query: [...request.query, [name, value]] }),
    ),
  'parameter twice': fc.constant<Spoil>((request) => ({
    ...request,
    query: [...request.query, ...request.query],
  })),
  header: fc
    .tuple(
      fc.constantFrom(
        'request-id',
        'last-event-id',
        'origin',
        'authorization',
        'content-length',
        'x-forwarded-host',
        'expect',
        'accept',
        'if-match',
        'content-encoding',
      ),
      fc.oneof(
        fc.constantFrom(
          '',
          '-1',
          '1e9',
          '99999999999999999999',
          'https://evil.example',
          'null',
          'Bearer x',
          'gzip',
        ),
        fc.string({ maxLength: 300 }).filter((text) => /^[\x20-\x7e]*$/.test(text)),
      ),
    )
    .map(
      ([name, value]): Spoil =>
        (request) => ({
          ...request,
          headers: [...request.headers.filter(([of]) => of !== name), [name, value]],
        }),
    ),
}

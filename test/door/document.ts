// A door's OpenAPI document as tests use it: whether it is one, which operation a request asks for, and whether
// an answer is as the document says. It knows JSON Schema by ajv alone, never by the door's own schemas.

import { createRequire } from 'node:module'

type Json = { readonly [name: string]: unknown }

export interface DocumentedParameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: Json
}

export interface DocumentedOperation {
  readonly operationId: string
  readonly parameters: readonly DocumentedParameter[]
  readonly requestBody?: {
    readonly required: boolean
    readonly content: { readonly [type: string]: { readonly schema: Json } }
  }
  readonly responses: {
    readonly [status: string]: { readonly content: { readonly [type: string]: { readonly schema: Json } } }
  }
}

export interface OpenApi {
  readonly openapi: string
  readonly paths: { readonly [path: string]: { readonly [method: string]: DocumentedOperation } }
  readonly components: { readonly schemas: { readonly [name: string]: Json } }
}

interface Validate {
  (value: unknown): boolean
  readonly errors?: unknown
}

// Loaded by name: what the tests need of their types is said here.
const load = createRequire(import.meta.url)
const { Ajv2020 } = load('ajv/dist/2020.js') as {
  Ajv2020: new (
    options: object,
  ) => {
    addSchema(schema: object, key: string): void
    compile(schema: object): Validate
    errorsText(errors: unknown): string
  }
}

/** Null where it is a valid OpenAPI 3.1 document; else what is wrong. */
export async function faultIn(document: object): Promise<string | null> {
  const name: string = '@seriousme/openapi-schema-validator'
  const { Validator } = (await import(name)) as {
    Validator: new () => { validate(given: object): Promise<{ valid: boolean; errors?: unknown }> }
  }
  const { valid, errors } = await new Validator().validate(structuredClone(document))
  return valid ? null : JSON.stringify(errors)
}

/** Judges answers by a document. */
export class Judge {
  readonly #document: OpenApi
  readonly #ajv = new Ajv2020({ strict: false, allErrors: false, validateFormats: false })
  readonly #compiled = new Map<string, Validate>()

  constructor(document: OpenApi) {
    this.#document = document
    this.#ajv.addSchema(document, 'document')
  }

  /** What the document has for this method and path; undefined where it has nothing. */
  operation(method: string, path: string): DocumentedOperation | undefined {
    const given = path.split('/')
    const fitting = Object.keys(this.#document.paths).filter((pattern) => {
      const parts = pattern.split('/')
      return (
        parts.length === given.length &&
        parts.every((part, i) => (part.startsWith('{') ? given[i] !== '' : part === given[i]))
      )
    })
    // A path without a parameter comes before one with.
    const [found] = fitting.sort((a, b) => a.split('{').length - b.split('{').length)
    return found === undefined ? undefined : this.#document.paths[found]![method.toLowerCase()]
  }

  /** Null where the answer is one that the operation may give; else what is wrong with it. */
  fault(operation: DocumentedOperation, status: number, type: string, text: string): string | null {
    const answer = operation.responses[String(status)]
    if (answer === undefined) return `${operation.operationId} has no answer ${status} in the document`
    const [media] = type.split(';')
    const shape = answer.content[media!]
    if (shape === undefined) return `${operation.operationId} has no ${media} for ${status} in the document`
    if (media !== 'application/json') return null
    return this.#faultOf(`${operation.operationId} ${status}`, shape.schema, JSON.parse(text))
  }

  /** The form of every error. */
  faultOfError(value: unknown): string | null {
    return this.#faultOf('failure', { $ref: '#/components/schemas/failure' }, value)
  }

  #faultOf(name: string, schema: Json, value: unknown): string | null {
    const validate = this.#compiled.get(name) ?? this.#ajv.compile(inDocument(schema) as object)
    this.#compiled.set(name, validate)
    return validate(value) ? null : `${name}: ${this.#ajv.errorsText(validate.errors)}`
  }
}

/** With its references into the whole document. */
function inDocument(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(inDocument)
  if (typeof schema !== 'object' || schema === null) return schema
  return Object.fromEntries(
    Object.entries(schema).map(([name, inner]) => [
      name,
      name === '$ref' && typeof inner === 'string' ? `document${inner}` : inDocument(inner),
    ]),
  )
}

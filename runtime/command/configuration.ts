// What the configuration file of `serve` may hold: one schema, from which the report of faults, the JSON schema
// for editors and the type are made. It reads no file and starts nothing.

import { z } from 'zod'
import { nearest } from '../../machines/error.ts'
import type { Issue } from '../index.ts'
import { LOG_LEVELS } from '../log.ts'
import { defaultSettings, type Settings, settingsFrom } from '../settings.ts'

/** Names in a topic or an address, as the runtime takes them. */
const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, "1 to 63 letters, digits, '_', '.' or '-' are needed")
const path = z.string().min(1, 'a path is needed')

const settings = z
  .strictObject(
    Object.fromEntries(
      Object.entries(defaultSettings).map(([setting, value]) => [
        setting,
        z.int().min(1, 'a whole number of at least 1 is needed').optional().meta({ default: value }),
      ]),
    ),
  )
  .describe('Times and limits; what is absent has its default.')

const spec = z.union([z.string(), z.number(), z.boolean()])

const node = z
  .strictObject({
    cluster: name
      .optional()
      .describe("The cluster; where absent each host is a cluster of its own, by the host's name."),
    backend: name.describe('The backend; a topic is cluster@backend.'),
    hosts: z.array(name).min(1, 'at least one host is needed').describe('One node runs for each.'),
    driver: z
      .string()
      .optional()
      .describe(
        "file, qemu or noop, or the path of a module that exports `driver`. Where absent, the backend's name.",
      ),
    folder: path
      .optional()
      .describe('Where a driver keeps its things. Default: in the data folder, by the topic.'),
    options: z
      .record(z.string(), z.unknown())
      .optional()
      .describe(
        'Of the driver: piece_bytes, keep_marks_ms, capabilities; of qemu also command; a module gets them all.',
      ),
    work_ms: z
      .int()
      .min(1, 'a whole number of at least 1 is needed')
      .max(3_600_000, 'at most an hour')
      .optional()
      .describe('Slows every operation by so much, to have something to look at.'),
  })
  .describe('Nodes of one cluster at one backend; they share a driver.')

export const configuration = z
  .strictObject({
    $schema: z.string().optional().describe('For editors.'),
    data: path.optional().describe('The folder where everything is kept. Default: .rekindle'),
    door: z
      .strictObject({
        host: z.string().min(1).optional().describe('Default: 127.0.0.1. Any other needs a token.'),
        port: z
          .int()
          .min(0)
          .max(65_535, 'a port is at most 65535')
          .optional()
          .describe('Default: 7878; 0 takes a free one.'),
        names: z
          .array(z.string().min(1))
          .optional()
          .describe('Names of this machine that clients use, besides its addresses.'),
        token_file: path.optional().describe('A file with the token that clients have to send.'),
      })
      .optional()
      .describe('The HTTP door.'),
    log: z
      .strictObject({
        format: z
          .enum(['text', 'json'])
          .optional()
          .describe('Default: text, for people; json has one object a line.'),
        level: z.enum(LOG_LEVELS).optional().describe('Default: info; debug tells each operation.'),
      })
      .optional()
      .describe('What is told on stderr.'),
    settings: settings.optional(),
    definitions: z
      .array(path)
      .optional()
      .describe('Files that export resource types of your own, as `rekindle check` takes them.'),
    built_in_types: z
      .boolean()
      .optional()
      .describe('Whether volume, snapshot and backup are served as well. Default: true.'),
    nodes: z
      .array(node)
      .min(1, 'at least one is needed')
      .optional()
      .describe('Default: h1, h2 and h3 of demo@file.'),
    placement: z
      .strictObject({
        prefer: z
          .enum(['most_room', 'least_room'])
          .optional()
          .describe(
            'Where new resources go first. Default: most_room; least_room fills one cluster after the other.',
          ),
        specs: z
          .record(
            z.string(),
            z.strictObject({
              field: z.string().min(1).describe('A field of the data.'),
              types: z
                .record(
                  z.string(),
                  z.record(
                    z.string(),
                    z.union([
                      spec,
                      z.array(spec),
                      z.strictObject({ at_least: z.number().optional(), at_most: z.number().optional() }),
                    ]),
                  ),
                )
                .describe("What each value of the field asks of a cluster's capabilities."),
            }),
          )
          .optional()
          .describe('By kind: what a resource asks of its cluster.'),
      })
      .optional()
      .describe('Where new resources go.'),
  })
  .meta({ title: 'Configuration of rekindle serve' })

export type Configuration = z.infer<typeof configuration>
export type NodesGiven = z.infer<typeof node>

/** JSON Schema, draft 7, as editors read it. */
export function configurationSchema(): JsonSchema {
  return z.toJSONSchema(configuration, { target: 'draft-7', io: 'input' }) as JsonSchema
}

interface JsonSchema {
  readonly properties?: { readonly [name: string]: JsonSchema }
  readonly additionalProperties?: JsonSchema | boolean
  readonly items?: JsonSchema
  readonly [keyword: string]: unknown
}

/** What of a configuration is without a fault: whole sections, and nodes where null stands for one with a fault. */
export type Usable = Omit<Configuration, 'nodes'> & { nodes?: readonly (NodesGiven | null)[] | undefined }

/** Every fault of a text with its path, and what of it can be used: a fault in one section hides none in another. */
export function parseConfiguration(text: string): { value: Usable; faults: readonly Issue[] } {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch (error) {
    return {
      value: {},
      faults: [{ path: '', message: `is no JSON: ${placed((error as Error).message, text)}` }],
    }
  }
  const result = configuration.safeParse(given)
  const value = result.success ? result.data : usableOf(given)
  const faults = result.success ? [] : faultsOf(result.error, configuration, given)
  return { value, faults: [...faults, ...clashesOf(value)] }
}

/** What does not fit a schema, each with its path, its value and a hint. */
export function faultsIn(schema: z.ZodType, given: unknown): readonly Issue[] {
  const result = schema.safeParse(given)
  return result.success ? [] : faultsOf(result.error, schema, given)
}

function faultsOf(error: z.ZodError, schema: z.ZodType, given: unknown): Issue[] {
  const known = z.toJSONSchema(schema, { io: 'input' }) as JsonSchema
  return error.issues.flatMap((issue) => worded(issue, known, given))
}

function usableOf(given: unknown): Usable {
  if (typeof given !== 'object' || given === null) return {}
  const usable: { [section: string]: unknown } = {}
  for (const [section, schema] of Object.entries(configuration.shape)) {
    const value = (given as { [name: string]: unknown })[section]
    if (section === 'nodes' && Array.isArray(value))
      usable[section] = value.map((one) => node.safeParse(one).data ?? null)
    else if (schema.safeParse(value).success) usable[section] = value
  }
  return usable as Usable
}

/** What is well-formed and can't work together. */
function clashesOf({ settings: given, nodes = [] }: Usable): Issue[] {
  const faults: Issue[] = []
  try {
    settingsFrom((given ?? {}) as Partial<Settings>)
  } catch (error) {
    const { issues = [] } = error as { issues?: readonly Issue[] }
    faults.push(...issues.map(({ path, message }) => ({ path: `settings.${path}`, message })))
  }
  const seen = new Map<string, string>()
  for (const [i, one] of nodes.entries())
    for (const [j, host] of (one?.hosts ?? []).entries()) {
      const address = `${host}@${one?.backend}`
      const here = `nodes[${i}].hosts[${j}]`
      const there = seen.get(address)
      if (there === undefined) seen.set(address, here)
      else
        faults.push({
          path: here,
          message: `is ${address}, as ${there} is: every node of a backend needs its own host`,
        })
    }
  return faults
}

/** `position 17` of V8 as line and column: a person looks for those. */
function placed(message: string, text: string): string {
  const [, position] = /position (\d+)/.exec(message) ?? []
  if (position === undefined || /line \d+/.test(message)) return message
  const before = text.slice(0, Number(position)).split('\n')
  return `${message} (line ${before.length}, column ${before.at(-1)!.length + 1})`
}

function worded(issue: z.core.$ZodIssue, schema: JsonSchema, given: unknown): Issue[] {
  const where = pathOf(issue.path)
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, issue.path)
    return issue.keys.map((key) => ({
      path: pathOf([...issue.path, key]),
      message: `is not known here${nearest(key, known) || `; known: ${known.join(', ')}`}`,
    }))
  }
  const value = valueAt(given, issue.path)
  if (value === undefined) return [{ path: where, message: `is missing; ${needed(issue)}` }]
  const hint =
    issue.code === 'invalid_value' && typeof value === 'string'
      ? nearest(value, issue.values.map(String))
      : ''
  return [{ path: where, message: `is ${shown(value)}; ${needed(issue)}${hint}` }]
}

function needed(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return `${ARTICLE[issue.expected] ?? issue.expected} is needed`
  if (issue.code === 'invalid_value') return `one of ${issue.values.join(', ')} is needed`
  if (issue.code === 'invalid_union')
    return 'a string, a number, a boolean, a list of them, or { at_least, at_most } is needed'
  return issue.message
}

const ARTICLE: Readonly<Record<string, string>> = {
  ...{ string: 'a string', number: 'a number', int: 'a whole number', boolean: 'true or false' },
  ...{ array: 'a list', object: 'an object', record: 'an object' },
}

/** `nodes[0].hosts[1]`. */
export function pathOf(parts: readonly PropertyKey[]): string {
  return parts
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i === 0 ? '' : '.'}${String(part)}`))
    .join('')
}

function keysAt(schema: JsonSchema, path: readonly PropertyKey[]): string[] {
  let at: JsonSchema | undefined = schema
  for (const part of path) {
    if (at === undefined) return []
    const { properties, items, additionalProperties }: JsonSchema = at
    if (typeof part === 'number') at = items
    else
      at =
        properties?.[String(part)] ??
        (typeof additionalProperties === 'object' ? additionalProperties : undefined)
  }
  return Object.keys(at?.properties ?? {})
}

function valueAt(given: unknown, path: readonly PropertyKey[]): unknown {
  let at = given
  for (const part of path) at = (at as { [name: PropertyKey]: unknown } | null | undefined)?.[part]
  return at
}

/** A value as it may stand in a report. */
export function shown(value: unknown): string {
  const text = (JSON.stringify(value) ?? 'nothing').replace(/[^\x20-\x7e]/g, '?')
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

// What `serve` is to do: its configuration file with the flags over it, every path resolved, every module
// loaded. It opens no store and starts nothing, so `config check` finds the same faults.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { checkTypes, type ResourceType } from '../../machines/index.ts'
import { slowed } from '../drivers/slowed.ts'
import { isLoopback } from '../http/index.ts'
import {
  backup,
  type ClusterFilter,
  type Environment,
  freeCapacity,
  type Issue,
  type NodeConfig,
  type PlacementOptions,
  type Settings,
  snapshot,
  volume,
} from '../index.ts'
import type { LogLevel } from '../log.ts'
import { checkPlacement } from '../placement_options.ts'
import { type NodesGiven, parseConfiguration, type Usable } from './configuration.ts'
import { definitionsFrom } from './definition_file.ts'
import { EXIT, Exit, usage } from './exit.ts'
import { DRIVERS, faultOfName, faultsOfOptions, folderOf, isModule, makeDriver } from './serve_drivers.ts'
import { HOW_TO_MAKE, tokenFrom } from './token.ts'

/** The command line; what is absent there is taken from the file. */
export interface ServeFlags {
  readonly config?: string
  readonly data?: string
  readonly port?: number
  readonly host?: string
  readonly tokenFile?: string
  readonly nodes?: readonly string[]
  /** Of the nodes that run where none are given. */
  readonly driver?: string
  readonly definitions?: readonly string[]
  readonly settings?: string
  readonly log?: 'text' | 'json'
  readonly logLevel?: LogLevel
  readonly workMs?: number
}

export interface PlannedNode {
  readonly topic: string
  /** Of the data folder and named by the topic: it goes along when the cluster is renamed. Null: it was given. */
  readonly own_folder: string | null
  readonly driver: string
  readonly config: NodeConfig
}

export interface ServePlan {
  /** The configuration file; null without one. */
  readonly file: string | null
  readonly data: string
  readonly host: string
  readonly port: number
  /** By which the door is reached besides its addresses. */
  readonly names: readonly string[]
  readonly token: string | null
  readonly log: { readonly format: 'text' | 'json'; readonly level: LogLevel }
  readonly settings: Partial<Settings>
  readonly types: readonly ResourceType[]
  readonly nodes: readonly PlannedNode[]
  readonly placement: PlacementOptions
}

/** Taken where it is in the working folder and no other is named. */
export const DEFAULT_FILE = 'rekindle.config.json'

/** Throws Exit with every fault of the file in one report, or with the first one of the flags. */
export async function planFrom(flags: ServeFlags, environment: Environment): Promise<ServePlan> {
  const fromFlags = { nodes: nodesOf(flags), settings: settingsOf(flags.settings) }
  const file = flags.config ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : null)
  const faults: Issue[] = []
  const fault = (path: string, message: string) => faults.push({ path, message })
  const given = file === null ? {} : readFile(file, faults)
  const base = file === null ? '.' : dirname(file)
  const at = (path: string) => resolve(base, path)

  const data = flags.data ?? (given.data === undefined ? './.rekindle' : at(given.data))
  const host = flags.host ?? given.door?.host ?? '127.0.0.1'
  const token = tokenOf(flags, given, at, fault)
  if (token === null && !isLoopback(host) && given.door?.token_file === undefined) {
    const where = flags.host === undefined ? '' : `--host ${host}: `
    const message = `${where}other machines can reach it, so a token is needed: ${HOW_TO_MAKE}, then say --token-file token (or REKINDLE_TOKEN)`
    if (flags.host !== undefined) throw usage(message)
    fault('door.host', `is '${host}'; ${message}`)
  }
  const types = await typesOf(flags, given, at, fault)
  const nodes = await nodesFrom(fromFlags.nodes ?? given.nodes, { flags, data, at, fault, environment })
  const placement = placementOf(given, nodes, types, fault)
  if (faults.length > 0) throw report(file ?? DEFAULT_FILE, faults)
  return {
    ...{ file, data, host, token, types, nodes, placement },
    port: flags.port ?? given.door?.port ?? 7878,
    names: given.door?.names ?? [],
    log: {
      format: flags.log ?? given.log?.format ?? 'text',
      level: flags.logLevel ?? given.log?.level ?? 'info',
    },
    settings: { ...(given.settings as Partial<Settings> | undefined), ...fromFlags.settings },
  }
}

/** Every fault at once, with its path: a person mends them in one go. */
function report(file: string, faults: readonly Issue[]): Exit {
  const widest = Math.min(40, Math.max(...faults.map(({ path }) => path.length)))
  const lines = faults.map(({ path, message }) =>
    path === '' ? `  it ${message}` : `  ${path.padEnd(widest)}  ${message}`,
  )
  const count = faults.length === 1 ? 'this must be mended' : `these ${faults.length} must be mended`
  return new Exit(EXIT.usage, `${file}: ${count}:\n${lines.join('\n')}`, {
    code: 'bad_configuration',
    issues: faults,
  })
}

function readFile(file: string, faults: Issue[]): Usable {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw usage(
      `--config ${file}: ${code === 'ENOENT' ? 'there is no such file' : `it can't be read (${code})`}`,
    )
  }
  const { value, faults: found } = parseConfiguration(text)
  faults.push(...found)
  return value
}

type Say = (path: string, message: string) => void

/** A flag, then the environment, then the file. */
function tokenOf(
  { tokenFile }: ServeFlags,
  { door }: Usable,
  at: (path: string) => string,
  fault: Say,
): string | null {
  try {
    const token = tokenFrom(tokenFile)
    if (token !== null) return token
  } catch (error) {
    throw usage(
      tokenFile === undefined ? (error as Error).message : `--token-file ${(error as Error).message}`,
    )
  }
  if (door?.token_file === undefined) return null
  try {
    return tokenFrom(at(door.token_file))
  } catch (error) {
    fault('door.token_file', `is '${door.token_file}': ${(error as Error).message}`)
    return null
  }
}

async function typesOf(
  { definitions }: ServeFlags,
  given: Usable,
  at: (path: string) => string,
  fault: Say,
): Promise<readonly ResourceType[]> {
  const types: ResourceType[] = given.built_in_types === false ? [] : [volume, snapshot, backup]
  for (const file of definitions ?? []) types.push(...(await definitionsFrom(file)).types)
  if (definitions === undefined)
    for (const [i, file] of (given.definitions ?? []).entries())
      try {
        types.push(...(await definitionsFrom(at(file))).types)
      } catch (error) {
        fault(`definitions[${i}]`, wordsOf(error))
      }
  try {
    checkTypes(types)
  } catch (error) {
    if (definitions !== undefined) throw usage(`--definitions: ${wordsOf(error)}`)
    fault('definitions', `can't be served together: ${wordsOf(error)}`)
  }
  if (types.length === 0)
    fault('built_in_types', 'is false, and no definitions are given: nothing is left to serve')
  return types
}

/** `cluster@backend:host,host` of each `--nodes`; null where there is none. */
function nodesOf({ nodes, driver, workMs }: ServeFlags): NodesGiven[] | null {
  if (driver !== undefined && !DRIVERS.includes(driver))
    throw usage(`--driver ${driver}: there is no such driver, only ${DRIVERS.join(', ')}`)
  if (nodes === undefined && driver === undefined) return null
  const slow = workMs === undefined ? {} : { work_ms: workMs }
  return (nodes ?? [`demo@${driver}:h1,h2,h3`]).map((given) => {
    const [, cluster, backend, hosts] = /^([^@:,]+)@([^@:,]+):([^@:]+)$/.exec(given) ?? []
    if (!cluster || !backend || !hosts)
      throw usage(`--nodes ${given}: say cluster@backend:host,host, for example demo@file:h1,h2,h3`)
    if (!DRIVERS.includes(backend))
      throw usage(`--nodes ${given}: there is no backend '${backend}', only ${DRIVERS.join(', ')}`)
    return { cluster, backend, hosts: hosts.split(','), ...slow }
  })
}

interface Made {
  readonly flags: ServeFlags
  readonly data: string
  readonly at: (path: string) => string
  readonly fault: Say
  readonly environment: Environment
}

const DEFAULT_NODES: readonly NodesGiven[] = [{ cluster: 'demo', backend: 'file', hosts: ['h1', 'h2', 'h3'] }]

/** A driver a topic, shared by its nodes; nodes without a cluster have one each. */
async function nodesFrom(
  given: readonly (NodesGiven | null)[] | undefined,
  made: Made,
): Promise<PlannedNode[]> {
  const planned: PlannedNode[] = []
  for (const [i, one] of (given ?? DEFAULT_NODES).entries()) {
    if (one === null) continue
    const { cluster, backend, hosts, options = {}, ...rest } = one
    const driver = rest.driver ?? backend
    const bad = faultOfName(driver)
    if (bad !== null) {
      made.fault(
        `nodes[${i}].${rest.driver === undefined ? 'backend' : 'driver'}`,
        `is '${driver}', which ${bad}`,
      )
      continue
    }
    for (const { path, message } of faultsOfOptions(driver, options))
      made.fault(`nodes[${i}].options${path.startsWith('[') || path === '' ? '' : '.'}${path}`, message)
    const work_ms = made.flags.workMs ?? rest.work_ms
    const groups = cluster === undefined ? hosts.map((host) => [host]) : [hosts]
    for (const group of groups) {
      const topic = `${cluster ?? group[0]}@${backend}`
      const own = folderOf(resolve(made.data), driver, topic)
      const folder = rest.folder === undefined ? own : made.at(rest.folder)
      const path = isModule(driver) ? made.at(driver) : driver
      try {
        const whole = await makeDriver(path, { topic, backend, folder, options })
        const slow = !work_ms ? whole : slowed(whole, work_ms, made.environment)
        for (const host of group)
          planned.push({
            ...{ topic, driver, own_folder: rest.folder === undefined ? own : null },
            config: { ...(cluster !== undefined && { cluster }), backend, host, driver: slow },
          })
      } catch (error) {
        made.fault(`nodes[${i}].driver`, wordsOf(error))
      }
    }
  }
  return planned
}

function placementOf(
  { placement }: Usable,
  nodes: readonly PlannedNode[],
  types: readonly ResourceType[],
  fault: Say,
): PlacementOptions {
  const options: PlacementOptions = {
    filters: [drivenThere(nodes)],
    weighers: [{ weigher: freeCapacity, multiplier: placement?.prefer === 'least_room' ? -1 : 1 }],
    ...(placement?.specs !== undefined && {
      specs: placement.specs as NonNullable<PlacementOptions['specs']>,
    }),
  }
  try {
    checkPlacement(new Map(types.map((type) => [type.kind, type])), options)
  } catch (error) {
    for (const { path, message } of (error as { issues?: readonly Issue[] }).issues ?? [])
      fault(`placement.${path}`, message)
  }
  return options
}

/** Where clusters have different drivers, a resource goes to one whose driver knows its kind. */
function drivenThere(nodes: readonly PlannedNode[]): ClusterFilter {
  return function driver({ topic }, { kind }) {
    const here = nodes.filter((node) => node.topic === topic)
    // The nodes of another process are not known here.
    const knows = here.length === 0 || here.some(({ config }) => config.driver.operations[kind] !== undefined)
    return knows || `it knows no ${kind}`
  }
}

function settingsOf(text: string | undefined): Partial<Settings> {
  if (text === undefined) return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Told below.
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw usage(`--settings ${text}: say a JSON object, for example '{"heartbeat_ms":500}'`)
  return value as Partial<Settings>
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

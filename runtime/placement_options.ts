// What createRuntime takes about placement, checked once at its start with every fault in one report. Plain
// functions and plain data; how they are used is placement.ts's.

import type { ResourceType } from '../machines/definition.ts'
import { nearest } from '../machines/error.ts'
import {
  builtInFilters,
  type ClusterFilter,
  type ClusterWeigher,
  type Requirements,
  type WeighedBy,
} from '../machines/placement.ts'
import type { JsonObject } from '../machines/row.ts'
import { type Issue, RekindleError } from './error.ts'

/** Where new resources go. Everything in it is a plain function or plain data. */
export interface PlacementOptions {
  /** Named functions, asked after the built-in ones: availability, capacity, capabilities. */
  readonly filters?: readonly ClusterFilter[]
  /** In place of `freeCapacity`; a multiplier is 1 where none is given, below 0 it turns the order around. */
  readonly weighers?: readonly (ClusterWeigher | WeighedBy)[]
  /**
   * What a resource asks of its cluster, by kind: a field of its data, and what each of the field's values
   * asks for. A resource without the field asks for nothing; a value that is not listed is bad input.
   *
   * @example { volume: { field: 'volume_type', types: { fast: { ssd: true, iops: { at_least: 5_000 } } } } }
   */
  readonly specs?: { readonly [kind: string]: TypeSpecs }
  /** GiB that a resource with this data takes; its `size` where that is a number, else 0. */
  readonly size?: (kind: string, data: JsonObject) => number
}

export interface TypeSpecs {
  readonly field: string
  readonly types: { readonly [value: string]: Requirements }
}

/** Throws `bad_settings` with every fault of the options. */
export function checkPlacement(types: ReadonlyMap<string, ResourceType>, options: PlacementOptions): void {
  const faults = faultsOf(types, options)
  if (faults.length > 0)
    throw new RekindleError(
      'bad_settings',
      `this placement can't work: ${faults.map(({ path, message }) => `${path} ${message}`).join('; ')}`,
      { issues: faults },
    )
}

type Say = (path: string, message: string) => void

function faultsOf(types: ReadonlyMap<string, ResourceType>, options: PlacementOptions): Issue[] {
  const faults: Issue[] = []
  const say: Say = (path, message) => faults.push({ path, message })
  const known = ['filters', 'weighers', 'specs', 'size']
  for (const name of Object.keys(options))
    if (!known.includes(name)) say(name, `is not an option of placement${nearest(name, known)}`)
  const names = new Set<string>(builtInFilters.map(({ name }) => name))
  checkFunctions('filters', options.filters ?? [], names, say)
  const weighers = options.weighers ?? []
  if (!Array.isArray(weighers)) say('weighers', 'must be a list')
  else {
    const plain = weighers.map((one) => (typeof one === 'function' ? one : one?.weigher))
    checkFunctions('weighers', plain, new Set(), say)
    for (const [i, one] of weighers.entries())
      if (typeof one !== 'function' && !Number.isFinite(one?.multiplier))
        say(`weighers[${i}].multiplier`, `is ${String(one?.multiplier)}; a finite number is needed`)
  }
  if (options.size !== undefined && typeof options.size !== 'function') say('size', 'must be a function')
  for (const [kind, given] of Object.entries(options.specs ?? {})) {
    const where = `specs.${kind}`
    if (!types.has(kind)) say(where, `is of no resource that is given${nearest(kind, types.keys())}`)
    if (typeof given?.field !== 'string' || given.field === '')
      say(`${where}.field`, 'must name a field of the data')
    if (!isObject(given?.types)) say(`${where}.types`, 'must list what each value of the field asks for')
    else
      for (const [value, requirements] of Object.entries(given.types))
        checkRequirements(`${where}.types.${value}`, requirements, say)
  }
  return faults
}

/** People are told which filter it was, so each has a name of its own. */
function checkFunctions(path: string, given: unknown, names: Set<string>, say: Say): void {
  if (!Array.isArray(given)) {
    say(path, 'must be a list of functions')
    return
  }
  for (const [i, one] of given.entries()) {
    const where = `${path}[${i}]`
    if (typeof one !== 'function') say(where, 'must be a function')
    else if (one.name === '')
      say(where, 'needs a name, which is told where it says no: give a named function')
    else if (names.has(one.name)) say(where, `is named '${one.name}', as another one is`)
    else names.add(one.name)
  }
}

function checkRequirements(path: string, requirements: unknown, say: Say): void {
  if (!isObject(requirements)) {
    say(path, 'must be an object of requirements')
    return
  }
  for (const [name, required] of Object.entries(requirements)) {
    const where = `${path}.${name}`
    if (name === 'provisioning') {
      if (required !== 'thick' && required !== 'thin')
        say(where, `is ${JSON.stringify(required)}; 'thick' or 'thin' is needed`)
    } else if (Array.isArray(required)) {
      if (required.length === 0 || !required.every(isSpec))
        say(where, 'must list strings, numbers or booleans')
    } else if (isObject(required)) checkBounds(where, required, say)
    else if (!isSpec(required)) say(where, 'must be a string, a number, a boolean, a list of them, or bounds')
  }
}

function checkBounds(path: string, bounds: { readonly [name: string]: unknown }, say: Say): void {
  const names = Object.keys(bounds)
  if (names.length === 0) say(path, 'has no bound: at_least, at_most or both are needed')
  for (const name of names)
    if (name !== 'at_least' && name !== 'at_most')
      say(path, `has '${name}'; only at_least and at_most are bounds`)
    else if (!Number.isFinite(bounds[name])) say(`${path}.${name}`, 'must be a finite number')
}

function isSpec(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)
}

function isObject(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

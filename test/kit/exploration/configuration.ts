// What is explored: which resources, nodes and schedulers, which operations are asked, within which budget of
// faults. Options as a user gives them become the whole of it here, with everything that does not fit
// refused by name. No state is made here.

import type { AnyStateMachine } from 'xstate'
import { backup } from '../../../machines/backup.ts'
import type { Types } from '../../../machines/decision.ts'
import { checkTypes, isCreate, type ResourceType } from '../../../machines/definition.ts'
import { nodeChart } from '../../../machines/node.ts'
import type { JsonObject, Ref } from '../../../machines/row.ts'
import { snapshot } from '../../../machines/snapshot.ts'
import { asList, type OperationShape } from '../../../machines/table.ts'
import { volume } from '../../../machines/volume.ts'
import { RekindleError } from '../../../runtime/error.ts'
import {
  builtInInputs,
  type CheckedInput,
  type CheckedInputs,
  checkInputs,
  type Inputs,
  withIds,
} from '../inputs.ts'
import type { Rule } from '../rules.ts'
import { switchedOff } from './rules.ts'

export interface DriverShape {
  /** Its backend has a mark and refuses what carries an older fence. Default true. */
  readonly fences?: boolean
  /** Its calls ignore the abort. Default: as `fences`, since only a mark stops such a call. */
  readonly stubborn?: boolean
  /** It can undo what is half-made. Default false. */
  readonly undoes?: boolean
}

export interface ExploreOptions {
  /** Default: the built-in types. */
  readonly types?: readonly ResourceType[]
  /** Whose resources are explored; default the first type's. Kinds that it needs stand beside it, one each. */
  readonly kind?: string
  /** Default 2. */
  readonly nodes?: number
  /** Resources of the kind. Default 1. */
  readonly resources?: number
  /** How many operations clients ask for. Default 2. */
  readonly operations?: number
  /** Default 2. */
  readonly schedulers?: number
  /** Crashes of a node's or a scheduler's process. Default 1. */
  readonly crashes?: number
  /** How often the beats of a live node stand still for so long that it may be declared down. Default 0. */
  readonly pauses?: number
  readonly lostDoorbells?: number
  readonly duplicatedDoorbells?: number
  /** Driver calls that fail. Default 0. */
  readonly failures?: number
  /** Cluster and first host have one name (rule R17). */
  readonly clusterIsHost?: boolean
  /** Further processes that are configured as the first host (rule R11). Default 0. */
  readonly twins?: number
  /** `each`: a node is a process of its own; `one`: all are in one, and a crash ends a node alone. */
  readonly process?: 'each' | 'one'
  readonly driver?: DriverShape
  /** The operations that clients ask for. Default: all of the kind. */
  readonly only?: readonly string[]
  /** What operations are asked with; see `Inputs`. For the built-in types they are known. */
  readonly inputs?: Inputs
  /** Doorbells that the mailbox holds. Default: one a resource. */
  readonly mailbox?: number
  /** Interchangeable nodes and resources are one. Default true. */
  readonly merge?: boolean
  /** Switches a rule of the protocol off, from outside. */
  readonly ruleOff?: Rule
}

/** One way to ask for an operation. */
export interface Asked {
  readonly kind: string
  readonly name: string
  readonly input: JsonObject
  readonly force: boolean
  /** Done in the accept itself, by an administrator's word. */
  readonly instant: boolean
}

/** An operation of the kind that is not asked for. */
export interface LeftOut {
  readonly operation: string
  readonly why: string
}

/** What a driver's effect of an operation does at the backend. */
export type Effect = 'makes' | 'removes' | 'changes'

export interface Configuration {
  readonly types: Types
  readonly kind: string
  readonly resources: readonly Ref[]
  /** The first so many resources are of the kind and interchangeable; the others stand beside them. */
  readonly ofKind: number
  readonly topic: string
  readonly backend: string
  readonly hosts: readonly string[]
  /** By life: its host. */
  readonly lives: readonly number[]
  readonly nodeChart: AnyStateMachine
  readonly schedulers: number
  readonly budget: Budget
  readonly oneProcess: boolean
  readonly driver: Required<DriverShape>
  readonly asked: readonly Asked[]
  readonly leftOut: readonly LeftOut[]
  /** By kind: its operations with a driver, in the order of the table. */
  readonly operations: ReadonlyMap<string, readonly { readonly name: string; readonly effect: Effect }[]>
  readonly mailbox: number
  readonly merge: boolean
  readonly ruleOff: Rule | null
  /** By resource: how it is at the start; null: absent. */
  readonly first: readonly (FirstRow | null)[]
}

/** A resource that is there at the start, for others to use or belong to. */
export interface FirstRow {
  readonly status: string
  readonly data: JsonObject
  readonly children: { readonly [kind: string]: number }
}

export interface Budget {
  readonly operations: number
  readonly crashes: number
  readonly pauses: number
  readonly lostDoorbells: number
  readonly duplicatedDoorbells: number
  readonly failures: number
}

const builtIns = [volume, snapshot, backup] as readonly unknown[] as readonly ResourceType[]
const MOST_NODES = 4
const MOST_OF_A_BUDGET = 7

const bad = (message: string) => new RekindleError('bad_input', message)

/** Rejects with `bad_input`, or with what the inputs' schemas say. */
export async function configurationFrom(options: ExploreOptions): Promise<Configuration> {
  const given = options.types ?? builtIns
  const off = options.ruleOff ?? null
  const types = checkTypes(given.map((type) => (off === null ? type : switchedOff(off, type))))
  const kind = options.kind ?? given[0]?.kind
  if (kind === undefined || !types.has(kind))
    throw bad(`no type '${String(kind)}' is given; there are ${[...types.keys()].join(', ')}`)
  const nodes = whole('nodes', options.nodes ?? 2, 1, MOST_NODES)
  const resources = whole('resources', options.resources ?? 1, 1, 3)
  const clusterIsHost = options.clusterIsHost ?? false
  const hosts = Array.from({ length: nodes }, (_, i) => `h${i + 1}`)
  const twins = whole('twins', options.twins ?? 0, 0, 2)
  const backend = 'file'
  const oneProcess = options.process === 'one'
  const fences = options.driver?.fences ?? true
  const driver = {
    fences,
    stubborn: options.driver?.stubborn ?? fences,
    undoes: options.driver?.undoes ?? false,
  }
  const budget: Budget = {
    operations: whole('operations', options.operations ?? 2, 0, MOST_OF_A_BUDGET),
    crashes: whole('crashes', options.crashes ?? 1, 0, MOST_OF_A_BUDGET),
    pauses: whole('pauses', options.pauses ?? 0, 0, MOST_OF_A_BUDGET),
    lostDoorbells: whole('lostDoorbells', options.lostDoorbells ?? 0, 0, MOST_OF_A_BUDGET),
    duplicatedDoorbells: whole('duplicatedDoorbells', options.duplicatedDoorbells ?? 0, 0, MOST_OF_A_BUDGET),
    failures: whole('failures', options.failures ?? 0, 0, MOST_OF_A_BUDGET),
  }
  if (oneProcess && (budget.pauses > 0 || twins > 0))
    throw bad("in one process no node stalls alone and none has a twin: leave out 'pauses' and 'twins'")
  const { checked: inputs, leftOut } = await inputsFor(types, kind, options, driver.fences || oneProcess)
  const asked = askedOf(types, kind, inputs)
  const beside = companionsOf(types, kind, inputs, asked)
  if (beside.length > 0 && resources > 1)
    throw bad(`what is asked of ${kind} touches ${beside.join(', ')}; explore one resource of it`)
  const refs: Ref[] = [
    ...Array.from({ length: resources }, (_, i) => ({ kind, id: `${kind}${i + 1}` })),
    ...beside.map((of) => ({ kind: of, id: idOf(of) })),
  ]
  return {
    types,
    kind,
    resources: refs,
    ofKind: refs.length - beside.length,
    topic: `${clusterIsHost ? 'h1' : 'ssd'}@${backend}`,
    backend,
    hosts,
    lives: [...hosts.keys(), ...Array.from({ length: twins }, () => 0)],
    nodeChart: off === 'R8' ? nodeChart.provide({ guards: { isFresh: () => true } as never }) : nodeChart,
    schedulers: whole('schedulers', options.schedulers ?? 2, 0, 3),
    budget,
    oneProcess,
    driver,
    asked: asked.map(({ input, ...rest }) => ({ ...rest, input: withIds(input, 'completed', idOf) })),
    leftOut,
    operations: new Map([...types].map(([of, { table }]) => [of, drivenBy(table)])),
    mailbox: whole('mailbox', options.mailbox ?? refs.length, 1, 8),
    merge: options.merge ?? true,
    ruleOff: off,
    first: [...Array.from({ length: resources }, () => null), ...firstRows(types, beside, inputs)],
  }
}

function whole(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most)
    throw bad(`${name} is ${value}; a whole number from ${least} to ${most} is explored`)
  return value
}

function drivenBy(table: ResourceType['table']): { name: string; effect: Effect }[] {
  return Object.entries(table.operations)
    .filter(([, { via }]) => via !== undefined)
    .map(([name, operation]) => {
      const [to] = asList(operation.to)
      return { name, effect: isCreate(operation) ? 'makes' : to === 'gone' ? 'removes' : 'changes' }
    })
}

/**
 * Checked inputs of the operations that are asked for, and of those that make what stands beside; and which
 * operations of the kind are left out, and why.
 */
async function inputsFor(
  types: Types,
  kind: string,
  { only, inputs = {} }: ExploreOptions,
  mayForce: boolean,
): Promise<{ readonly checked: CheckedInputs; readonly leftOut: readonly LeftOut[] }> {
  const { table } = types.get(kind)!
  for (const name of only ?? [])
    if (!Object.hasOwn(table.operations, name))
      throw bad(`${kind} has no operation '${name}'; there are ${Object.keys(table.operations).join(', ')}`)
  for (const [of, operations] of Object.entries(inputs))
    for (const name of Object.keys(operations))
      if (types.get(of)?.table.operations[name] === undefined)
        throw bad(`inputs.${of}.${name}: there is no such operation`)
  const checked = new Map<string, Map<string, readonly CheckedInput[]>>()
  const leftOut: LeftOut[] = []
  for (const type of types.values()) {
    const ready = new Map<string, readonly CheckedInput[]>()
    checked.set(type.kind, ready)
    for (const [name, operation] of Object.entries(type.table.operations)) {
      if (type.kind !== kind && !isCreate(operation)) continue
      if (type.kind === kind && only?.includes(name) === false) continue
      const why = whyNotAsked(operation, mayForce)
      if (why !== null) {
        leftOut.push({ operation: name, why })
        continue
      }
      const isBuiltIn = builtIns.some((one) => one.kind === type.kind && one.table === type.table)
      const listed = inputs[type.kind]?.[name] ?? (isBuiltIn ? builtInInputs[type.kind]?.[name] : undefined)
      const given = listed ?? (operation.choose === undefined ? undefined : [{}])
      const alone = { ...type, table: { ...type.table, operations: { [name]: operation } } }
      try {
        const one = await checkInputs([alone], given === undefined ? {} : { [type.kind]: { [name]: given } })
        ready.set(name, one.get(type.kind)!.get(name)!)
      } catch (error) {
        // Nobody said what to ask it with: that is told, and no fault where it was not named.
        if (!(error instanceof RekindleError) || listed !== undefined || only !== undefined) throw error
        leftOut.push({ operation: name, why: error.message })
      }
    }
  }
  if (only === undefined) leaveOutOthers(types, kind, checked, leftOut)
  return { checked, leftOut }
}

/** What takes rows of kinds that a resource of this kind does not need to be made. */
function leaveOutOthers(
  types: Types,
  kind: string,
  checked: ReadonlyMap<string, Map<string, readonly CheckedInput[]>>,
  leftOut: LeftOut[],
): void {
  const { operations } = types.get(kind)!.table
  const kindsIn = (ready: readonly CheckedInput[]) =>
    fewestIds(ready).flatMap(({ ids }) => ids.map((id) => id.kind))
  const ready = checked.get(kind)!
  const beside = [...ready].flatMap(([name, one]) => (isCreate(operations[name]!) ? kindsIn(one) : []))
  for (const [name, one] of ready) {
    const other = kindsIn(one).find((of) => !beside.includes(of))
    if (other === undefined) continue
    ready.delete(name)
    leftOut.push({ operation: name, why: `it takes a row of ${other}; it is asked for where it is named` })
  }
}

function whyNotAsked({ force, at, from }: OperationShape, mayForce: boolean): string | null {
  if (at !== undefined) return 'it is driven at another topic, and one topic is explored'
  if (from.length === 0) return 'nobody asks for it: it follows another operation'
  if (force === true && !mayForce)
    return 'in another process nothing stops the call that it interrupts, where the backend has no mark'
  return null
}

/** The one resource of a kind that stands beside. */
const idOf = (kind: string) => `${kind}1`

/** The choice of ids with the fewest, for each input given. */
function fewestIds(inputs: readonly CheckedInput[]): readonly CheckedInput[] {
  const fewest = new Map<string, CheckedInput>()
  for (const input of inputs) {
    const text = JSON.stringify(input.given)
    const known = fewest.get(text)
    if (known === undefined || input.ids.length < known.ids.length) fewest.set(text, input)
  }
  return [...fewest.values()]
}

type AskedWithIds = Omit<Asked, 'input'> & { readonly input: CheckedInput }

function askedOf(types: Types, kind: string, inputs: CheckedInputs): readonly AskedWithIds[] {
  const { operations } = types.get(kind)!.table
  return [...inputs.get(kind)!].flatMap(([name, ready]) =>
    fewestIds(ready).map((input) => ({
      kind,
      name,
      input,
      force: operations[name]!.force === true,
      instant: operations[name]!.via === undefined,
    })),
  )
}

/** Kinds whose rows take part in what is asked, and in their making. */
function companionsOf(
  types: Types,
  kind: string,
  inputs: CheckedInputs,
  asked: readonly AskedWithIds[],
): readonly string[] {
  const found = new Set<string>()
  const visit = (input: CheckedInput) => {
    for (const { kind: of } of input.ids) {
      if (of === kind || found.has(of)) continue
      found.add(of)
      visit(creationOf(types, inputs, of).input)
    }
  }
  for (const { input } of asked) visit(input)
  return [...found]
}

/** How a resource of the kind is made. */
function creationOf(
  types: Types,
  inputs: CheckedInputs,
  kind: string,
): { readonly name: string; readonly input: CheckedInput } {
  const [name] = Object.entries(types.get(kind)!.table.operations).find(([, one]) => isCreate(one))!
  return { name, input: fewestIds(inputs.get(kind)!.get(name)!)[0]! }
}

function firstRows(types: Types, kinds: readonly string[], inputs: CheckedInputs): readonly FirstRow[] {
  return kinds.map((kind) => {
    const { table } = types.get(kind)!
    const { name, input } = creationOf(types, inputs, kind)
    const belonging = kinds.filter((of) => types.get(of)!.table.parent?.kind === kind)
    return {
      status: asList(table.operations[name]!.to)[0]!,
      data: withIds(input, 'completed', idOf),
      children: Object.fromEntries(belonging.map((of) => [of, 1])),
    }
  })
}

/** What is explored, in one line. */
export function inWords(configuration: Configuration): string {
  const { kind, ofKind, hosts, lives, schedulers, budget, driver, oneProcess, topic, ruleOff } = configuration
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`
  const twins = lives.length - hosts.length
  const faults = [
    count(budget.crashes, 'crash').replace('crashs', 'crashes'),
    count(budget.pauses, 'pause'),
    count(budget.lostDoorbells, 'lost doorbell'),
    count(budget.duplicatedDoorbells, 'duplicated doorbell'),
    ...(budget.failures > 0 ? [count(budget.failures, 'failing call')] : []),
  ]
  return [
    `${kind}: ${count(hosts.length, 'node')}${twins > 0 ? ` and ${count(twins, 'twin')}` : ''} in ${topic}`,
    oneProcess ? ', all in one process, ' : ', ',
    `${count(ofKind, 'resource')}, ${count(budget.operations, 'operation')}, ${count(schedulers, 'scheduler')}; `,
    `faults: ${faults.join(', ')}; `,
    `driver ${driver.fences ? 'with' : 'without'} a fence${driver.undoes ? ', undoes' : ''}${driver.stubborn ? ', ignores the abort' : ''}`,
    ruleOff === null ? '' : `; rule ${ruleOff} off`,
  ].join('')
}

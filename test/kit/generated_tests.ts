// generatedTests: everything that can be told of a type from its table alone, as a list of tests. It makes the
// tests and runs none; what each of them does is in a file of its own.

import assert from 'node:assert/strict'
import { decide } from '../../machines/decision.ts'
import type { ResourceType } from '../../machines/definition.ts'
import { jsonStore, memoryStore } from '../../store/index.ts'
import type { StoreSource } from '../../store/store.ts'
import { Coverage } from './coverage.ts'
import { diagram } from './diagram.ts'
import { type DriverSubject, driverContract } from './driver_contract.ts'
import { type Exploration, explore } from './exploration/explore.ts'
import type { Counterexample } from './exploration/tell.ts'
import { FaultyDisk } from './faulty_file_system.ts'
import type { GeneratedTest } from './generated_test.ts'
import type { Inputs } from './inputs.ts'
import { matrixCells } from './matrix.ts'
import { PathRun } from './path_run.ts'
import { type PathStep, relatedRows, type StepContext } from './path_steps.ts'
import { graphPaths, type PathGraph, pathGraph, stepContext } from './paths.ts'
import { type SeedsResult, simulateSeeds } from './seeds.ts'
import type { SimulationResult } from './simulation/simulation.ts'
import { oncePerTransition, toursOf } from './tours.ts'
import { elsewhereEvents, retryEvents, wrongEvents } from './wrong_events.ts'

export interface GeneratedTestsOptions {
  /** The types that its operations name: its parent, what it holds and uses, and what holds or uses it. */
  readonly types?: readonly ResourceType[]
  /** What operations are asked with; checked before anything runs. */
  readonly inputs?: Inputs
  /**
   * Operations that the paths do not ask, as `volume.migrate`, because one cluster and one driver can't show
   * them. What only they reach is counted apart and named in the report.
   */
  readonly left_out?: readonly string[]
  /** What can't be reached for a reason that no table shows, in the words of the report, with the reason. */
  readonly unreachable?: { readonly [name: string]: string }
  /** A driver and a story for it: its contract is then among the tests. */
  readonly driver?: DriverSubject
  /** How many seeds are simulated; 3 where absent. */
  readonly seeds?: number
  /** Told of each coverage report. */
  readonly onCoverage?: (text: string) => void
}

/**
 * Tests generated from a type's table: its matrix and dead ends; every path through its chart walked in the
 * live runtime on the memory store and on the JSON store, the row compared after each step; the coverage of
 * states, transitions and guards; the crash behaviour explored exhaustively; simulated runs; and its
 * driver's contract.
 * Deterministic; nothing sleeps. Wrong inputs reject each test that needs them with a RekindleError that
 * names kind, operation and field.
 *
 * @example
 * for (const { title, run } of generatedTests(dnsRecord, { inputs })) test(title, run)
 */
export function generatedTests(
  type: ResourceType,
  options: GeneratedTestsOptions = {},
): readonly GeneratedTest[] {
  const { kind } = type
  const types = [type, ...(options.types ?? []).filter((one) => one.kind !== kind)]
  const contextAt = (at_backend: boolean) =>
    stepContext(types, options.inputs ?? {}, at_backend, options.left_out)
  const stores: readonly [string, () => StoreSource][] = [
    ['memory', () => memoryStore()],
    ['JSON', () => jsonStore('/data', { file_system: new FaultyDisk(1).fileSystem() })],
  ]
  const tests: GeneratedTest[] = [
    {
      title: `${kind}: what its table leaves out is refused in every status`,
      run: async () => checkMatrix(type),
    },
    {
      title: `${kind}: from every status that it can come to it can come to rest, and on from there`,
      run: async () => checkWaysOn(await contextAt(true), kind),
    },
    {
      title: `${kind}: the graph package and the search over decisions find the same states by as many steps`,
      run: async () => {
        for (const at_backend of [false, true]) await checkSameAnswers(await contextAt(at_backend), kind)
      },
    },
    ...stores.map(([name, open]) => ({
      title: `${kind}: every path of its chart is taken by the live runtime on the ${name} store, and all is covered`,
      run: async () => {
        const coverage = new Coverage(kind, types, options.left_out)
        coverage.declare(options.unreachable ?? {})
        for (const at_backend of [false, true])
          await walkAll(await contextAt(at_backend), types, kind, open(), coverage)
        options.onCoverage?.(coverage.toText())
        assert.deepEqual(
          coverage.missing().map(({ name: missing }) => missing),
          [],
          `never reached; give inputs that reach it:\n${coverage.toText()}`,
        )
        assert.deepEqual(coverage.wronglyDeclared(), [], 'declared as unreachable, and reached or unknown')
      },
    })),
    {
      title: `${kind}: every crash of a node at every moment leaves it right`,
      run: async () => {
        const found = await explored(types, kind, options.inputs)
        assert.ok(found.complete, `not finished: ${found.configuration}`)
        const { counterexample } = found
        assert.equal(counterexample, null, counterexample === null ? '' : wayTo(counterexample))
      },
    },
    {
      title: `${kind}: simulated runs with faults of every sort keep every invariant and come to rest`,
      run: async () => {
        const { failed } = await simulated(types, options.inputs, options.seeds ?? 3)
        if (failed !== null) assert.fail(failureOf(failed))
      },
    },
  ]
  if (options.driver !== undefined)
    for (const { title, run } of driverContract(options.driver))
      tests.push({ title: `${kind}: its driver: ${title}`, run })
  return tests
}

/** Two nodes, one crash, one operation: every state of that. */
export function explored(
  types: readonly ResourceType[],
  kind: string,
  inputs: Inputs = {},
): Promise<Exploration> {
  return explore({ types, kind, inputs, operations: 1 })
}

/** A few seeds, all faults drawn. */
export function simulated(
  types: readonly ResourceType[],
  inputs: Inputs = {},
  seeds: number,
): Promise<SeedsResult> {
  return simulateSeeds({ from: 1, seeds, steps: 300, resources: types, inputs })
}

/** The shortest way to a violation, a step a line, and its picture. */
export function wayTo({ invariant, message, steps, trace }: Counterexample): string {
  const ways = steps.map((step, at) => `${String(at + 1).padStart(4)}  ${step}`)
  return [`${invariant}: ${message}`, ...ways, diagram(trace)].join('\n')
}

function failureOf({ seed, violations, trace }: SimulationResult): string {
  const said = violations.map(({ invariant, message }) => `${invariant}: ${message}`)
  return [`seed ${seed}`, ...said, diagram(trace.slice(-40))].join('\n')
}

/** Walks every transition once, and asks what is refused once in each state. */
export async function walkAll(
  context: StepContext,
  types: readonly ResourceType[],
  kind: string,
  store: StoreSource,
  coverage: Coverage,
): Promise<number> {
  const graph = pathGraph(context, kind)
  const watched = types.map((type) => (type.kind === kind ? coverage.watch('live') : type))
  const run = await PathRun.start(context, watched, store)
  const asked = new Set<string>()
  try {
    for (const { steps, keys } of toursOf(graph, oncePerTransition(graph)))
      await run.walk(kind, steps, (at) => {
        const key = keys[at]!
        if (asked.has(key)) return []
        asked.add(key)
        return graph.refused.get(key) ?? []
      })
  } finally {
    await run.stop()
  }
  decideAll(context, kind, graph, coverage)
  return run.compared
}

/** What no caller and no node of a sound runtime ever does, sent to every state at the level of `decide`. */
function decideAll(context: StepContext, kind: string, graph: PathGraph, coverage: Coverage): void {
  const types = new Map([...context.types, [kind, coverage.watch('decided')]])
  const watched = { ...context, types }
  for (const { row } of graph.states.values())
    for (const event of wrongEvents(context.types.get(kind)!, row)) {
      const decision = decide(types, row, relatedRows(watched, row, event, {}, new Map()), event)
      assert.ok(!decision.accepted, `${event.type} by the wrong sender is accepted in ${row.status}`)
    }
  for (const state of graph.states.values())
    for (const [row, event] of [
      ...elsewhereEvents(context.types.get(kind)!, state.row),
      ...retryEvents(state.row),
    ])
      decide(types, row, relatedRows(watched, row, event, {}, new Map()), event)
}

/** An operation is accepted from the statuses of its table and from no other. */
export function checkMatrix(type: ResourceType): void {
  const { operations } = type.table
  for (const { state, event, next } of matrixCells(type)) {
    const operation = operations[event]
    if (operation === undefined || next === null) continue
    const status = state.split(/[.,]/)[0]!
    const starts =
      operation.from === 'any'
        ? type.statuses.all.filter((one) => one !== 'new' && one !== 'gone')
        : operation.from
    assert.ok(
      [starts].flat().includes(status),
      `${event} is accepted in ${state}, which its 'from' leaves out`,
    )
  }
}

/** Every state that is reached leads on: to rest, and at rest to some operation, up to gone. */
export function checkWaysOn(context: StepContext, kind: string): void {
  const graph = pathGraph(context, kind)
  const into = new Map<string, string[]>()
  for (const { from, to } of graph.edges) into.set(to, [...(into.get(to) ?? []), from])
  const isRest = (key: string) => {
    const { row } = graph.states.get(key)!
    return row.operation === null && row.held_by === null && row.version > 0
  }
  const ends = [...graph.states.keys()].filter(isRest)
  const leads = new Set(ends)
  for (const key of leads) for (const from of into.get(key) ?? []) leads.add(from)
  const stuck = [...graph.states.values()].filter(({ key }) => !leads.has(key))
  assert.deepEqual(
    stuck.map(({ row }) => row.status),
    [],
    'no way leads from here to a rest status',
  )
  const leaving = new Set(graph.edges.filter(({ from, to }) => from !== to).map(({ from }) => from))
  const ending = ends.filter((key) => graph.states.get(key)!.row.status !== 'gone' && !leaving.has(key))
  assert.deepEqual(
    ending.map((key) => graph.states.get(key)!.row.status),
    [],
    'no operation leaves it',
  )
}

/** Own search and graph package: the same states, each by as many steps. */
export function checkSameAnswers(context: StepContext, kind: string): void {
  const own = [...pathGraph(context, kind).states.values()]
  const counted = (paths: readonly { readonly key: string; readonly steps: readonly PathStep[] }[]) =>
    paths.map(({ key, steps }) => `${steps.length} ${key}`).sort()
  assert.deepEqual(counted(graphPaths(context, kind)), counted(own))
}

// rekindle/testing: tests generated from a resource type's table, against the code that is shipped.

export {
  type CheckDefinitionsOptions,
  checkDefinitions,
  type DefinitionCheck,
  type DefinitionsReport,
} from './check.ts'
export { counterexampleText, type FailedRun } from './counterexample.ts'
export { type DiagramOptions, diagram } from './diagram.ts'
export { type DriverStep, type DriverSubject, driverContract } from './driver_contract.ts'
export * from './exploration/index.ts'
export type { GeneratedTest } from './generated_test.ts'
export { type GeneratedTestsOptions, generatedTests } from './generated_tests.ts'
export { History, type HistoryVerdict, type OpenCall, recordedClient } from './history.ts'
export { builtInInputs, type Inputs } from './inputs.ts'
export { matrix } from './matrix.ts'
export { type Rule, ruleNames, rules } from './rules.ts'
export { parseScenario, type Scenario, type ScenarioChoice, scenarioText } from './scenario.ts'
export {
  type FaultKind,
  faultKinds,
  onlyFaults,
  replayOf,
  type SeedsOptions,
  type SeedsResult,
  scenarioOf,
  simulateSeeds,
} from './seeds.ts'
export { simulationOf } from './simulation/rules.ts'
export { type Shrinking, type ShrinkOptions, type Shrunk, shrink } from './simulation/shrink.ts'
export { type SimulationOptions, type SimulationResult, simulate } from './simulation/simulation.ts'
export { storeContract } from './store_contract.ts'
export { Trace, type TraceEvent } from './trace.ts'

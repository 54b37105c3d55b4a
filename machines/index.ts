// Everything that decides: resource types, the built-in ones, and the charts of node, scheduler,
// supervisor and api. Pure: importing this starts nothing.

export { apiChart } from './api.ts'
export { backup } from './backup.ts'
export { type Accepted, type Decision, decide, type Refused } from './decision.ts'
export { checkTypes, defineResource, type InputOf, type ResourceType } from './definition.ts'
export { DefinitionError } from './error.ts'
export { type MermaidOptions, toMermaid } from './graph.ts'
export { nodeChart } from './node.ts'
export { emptyRow, type ResourceEvent, statePathOf } from './resource.ts'
export type * from './row.ts'
export { schedulerChart } from './scheduler.ts'
export { snapshot } from './snapshot.ts'
export { type Command, Stepper } from './step.ts'
export { supervisorChart } from './supervisor.ts'
export type { Guard, GuardArguments, HeldShape, OperationShape, TableShape } from './table.ts'
export { volume } from './volume.ts'

// rekindle/testing: tests generated from a resource type's table, against the code that is shipped.

export { type DiagramOptions, diagram } from './diagram.ts'
export * from './exploration/index.ts'
export {
  builtInInputs,
  type CheckedInput,
  type CheckedInputs,
  checkInputs,
  type IdField,
  type Inputs,
  withIds,
} from './inputs.ts'
export { type Cell, matrix, matrixCells } from './matrix.ts'

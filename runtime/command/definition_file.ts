// A file of resource types, as a user writes one. It finds the types among what the file exports and says what
// is wrong with it; it judges no table.

import type { ResourceType } from '../../machines/index.ts'
import { badFile, moduleFrom } from './module_file.ts'

export interface DefinitionFile {
  /** Every resource type that the file exports, by name or by default, each once. */
  readonly types: readonly ResourceType[]
  /** What it exports as `inputs`: what operations are asked with, by kind and operation. */
  readonly inputs: { readonly [kind: string]: { readonly [operation: string]: readonly never[] } }
}

/** Loads the file; what is wrong with it ends the command with code 2 and a sentence. */
export async function definitionsFrom(file: string): Promise<DefinitionFile> {
  const exported = await moduleFrom(file)
  const types = new Set<ResourceType>()
  const collect = (value: unknown) => {
    if (isResourceType(value)) types.add(value)
    else if (Array.isArray(value)) value.forEach(collect)
  }
  Object.values(exported).forEach(collect)
  if (types.size === 0)
    throw badFile(
      file,
      'it exports no resource type; export what defineResource gives, by name or by default',
    )
  const { inputs = {} } = exported as { inputs?: DefinitionFile['inputs'] }
  if (typeof inputs !== 'object' || inputs === null) throw badFile(file, "its 'inputs' are not an object")
  return { types: [...types], inputs }
}

/** Made by this version of the package or another copy of it: told by its shape. */
function isResourceType(value: unknown): value is ResourceType {
  if (typeof value !== 'object' || value === null) return false
  const { kind, table, chart, stepper, statuses } = value as Partial<ResourceType>
  return (
    typeof kind === 'string' && [table, chart, stepper, statuses].every((part) => typeof part === 'object')
  )
}

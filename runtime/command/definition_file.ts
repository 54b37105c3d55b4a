// A file of resource types, as a user writes one: JavaScript, or TypeScript where esbuild is installed. It
// loads the file and says what is wrong with it; it judges no table.

import { rm, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ResourceType } from '../../machines/index.ts'
import { EXIT, Exit } from './exit.ts'

export interface DefinitionFile {
  /** Every resource type that the file exports, by name or by default, each once. */
  readonly types: readonly ResourceType[]
  /** What it exports as `inputs`: what operations are asked with, by kind and operation. */
  readonly inputs: { readonly [kind: string]: { readonly [operation: string]: readonly never[] } }
}

/** Loads the file; what is wrong with it ends the command with code 2 and a sentence. */
export async function definitionsFrom(file: string): Promise<DefinitionFile> {
  const path = resolve(file)
  const found = await stat(path).catch(() => null)
  if (found === null) throw bad(file, 'there is no such file')
  if (!found.isFile()) throw bad(file, 'it is not a file')
  const exported = await load(file, path)
  const types = new Set<ResourceType>()
  const collect = (value: unknown) => {
    if (isResourceType(value)) types.add(value)
    else if (Array.isArray(value)) value.forEach(collect)
  }
  Object.values(exported).forEach(collect)
  if (types.size === 0)
    throw bad(file, 'it exports no resource type; export what defineResource gives, by name or by default')
  const { inputs = {} } = exported as { inputs?: DefinitionFile['inputs'] }
  if (typeof inputs !== 'object' || inputs === null) throw bad(file, "its 'inputs' are not an object")
  return { types: [...types], inputs }
}

async function load(file: string, path: string): Promise<object> {
  const extension = extname(path)
  try {
    if (['.ts', '.mts'].includes(extension)) return await loadTypeScript(file, path)
    if (['.js', '.mjs', '.cjs'].includes(extension)) return await import(pathToFileURL(path).href)
  } catch (error) {
    if (error instanceof Exit) throw error
    throw bad(file, error instanceof Error ? error.message : String(error))
  }
  throw bad(file, `it is '${extension}'; JavaScript (.js, .mjs, .cjs) or TypeScript (.ts, .mts) is needed`)
}

/** The little of esbuild that is needed. It is no dependency: whoever writes TypeScript mostly has it. */
interface Esbuild {
  build(options: object): Promise<unknown>
}

/** Built beside the file, so that its imports are found from there; what was built is taken away again. */
async function loadTypeScript(file: string, path: string): Promise<object> {
  const esbuild = await findEsbuild(path)
  if (esbuild === null)
    throw bad(
      file,
      'it is TypeScript, and esbuild is not installed: npm install --save-dev esbuild, or give JavaScript',
    )
  const built = join(dirname(path), `.${basename(path)}.${process.pid}.mjs`)
  try {
    await esbuild.build({
      ...{ entryPoints: [path], outfile: built, bundle: true, packages: 'external' },
      ...{ format: 'esm', platform: 'node', logLevel: 'silent' },
    })
    return await import(pathToFileURL(built).href)
  } finally {
    await rm(built, { force: true })
  }
}

/** That of the user's own project first. */
async function findEsbuild(path: string): Promise<Esbuild | null> {
  for (const from of [path, join(process.cwd(), 'package.json'), import.meta.filename ?? path])
    try {
      const found = (await import(pathToFileURL(createRequire(from).resolve('esbuild')).href)) as Esbuild & {
        default?: Esbuild
      }
      return found.default ?? found
    } catch {
      // Not installed there.
    }
  return null
}

/** Made by this version of the package or another copy of it: told by its shape. */
function isResourceType(value: unknown): value is ResourceType {
  if (typeof value !== 'object' || value === null) return false
  const { kind, table, chart, stepper, statuses } = value as Partial<ResourceType>
  return (
    typeof kind === 'string' && [table, chart, stepper, statuses].every((part) => typeof part === 'object')
  )
}

function bad(file: string, why: string): Exit {
  return new Exit(EXIT.usage, `${file}: ${why}`, { code: 'bad_file' })
}

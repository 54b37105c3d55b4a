// A file of code that a user wrote, loaded: JavaScript, or TypeScript where esbuild is installed. It looks at
// nothing that the file exports.

import { rm, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EXIT, Exit } from './exit.ts'

/** What the file exports; what is wrong with it ends the command with code 2 and a sentence. */
export async function moduleFrom(file: string): Promise<object> {
  const path = resolve(file)
  const found = await stat(path).catch(() => null)
  if (found === null) throw badFile(file, 'there is no such file')
  if (!found.isFile()) throw badFile(file, 'it is not a file')
  const extension = extname(path)
  try {
    if (['.ts', '.mts'].includes(extension)) return await loadTypeScript(file, path)
    if (['.js', '.mjs', '.cjs'].includes(extension)) return await import(pathToFileURL(path).href)
  } catch (error) {
    if (error instanceof Exit) throw error
    throw badFile(file, error instanceof Error ? error.message : String(error))
  }
  throw badFile(
    file,
    `it is '${extension}'; JavaScript (.js, .mjs, .cjs) or TypeScript (.ts, .mts) is needed`,
  )
}

/** The little of esbuild that is needed. It is no dependency: whoever writes TypeScript mostly has it. */
interface Esbuild {
  build(options: object): Promise<unknown>
}

/** Built beside the file, so that its imports are found from there; what was built is taken away again. */
async function loadTypeScript(file: string, path: string): Promise<object> {
  const esbuild = await findEsbuild(path)
  if (esbuild === null)
    throw badFile(
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

export function badFile(file: string, why: string): Exit {
  return new Exit(EXIT.usage, `${file}: ${why}`, { code: 'bad_file' })
}

// The command as it is shipped: built once for a state of the sources, in a folder that no other build
// touches, and run as a process of its own.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const ROOT = resolve(import.meta.dirname, '../..')
/** Packages are found from here, and nothing else looks at it. */
const CACHE = join(ROOT, 'node_modules', '.cache', 'rekindle-test')

const MAIN = join('dist', 'runtime', 'command', 'main.js')

/** The path of the built command. Several test processes may ask at once. */
export async function builtCommand(): Promise<string> {
  const folder = join(CACHE, digestOfSources())
  const main = join(folder, MAIN)
  if (existsSync(main)) return main
  const own = `${folder}.${process.pid}`
  mkdirSync(own, { recursive: true })
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  // What is wrong with the types is told by `npm run check`.
  await promisify(execFile)(
    process.execPath,
    [tsc, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', join(own, 'dist')],
    {
      cwd: ROOT,
    },
  ).catch((error: { stdout?: string }) => {
    if (!existsSync(join(own, MAIN))) throw new Error(`the build failed: ${error.stdout}`)
  })
  // By it the build finds its own parts under the package's name.
  copyFileSync(join(ROOT, 'package.json'), join(own, 'package.json'))
  try {
    renameSync(own, folder)
  } catch {
    // Another process was first; both built the same.
    rmSync(own, { recursive: true, force: true })
  }
  return main
}

function digestOfSources(): string {
  const hash = createHash('sha256')
  for (const ring of ['machines', 'store', 'runtime', 'test/torture', 'test/kit'])
    for (const name of (readdirSync(join(ROOT, ring), { recursive: true }) as string[]).sort()) {
      const { mtimeMs, size } = statSync(join(ROOT, ring, name))
      hash.update(`${ring}/${name} ${mtimeMs} ${size}\n`)
    }
  return hash.digest('hex').slice(0, 16)
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs: what it has said so far, and how it ends. */
export interface Running {
  readonly process: ChildProcess
  readonly said: { stdout: string; stderr: string }
  readonly ended: Promise<Ended>
  /** Resolves with the match when it has said so, on stdout or stderr; rejects when it ends before. */
  says(what: RegExp): Promise<RegExpExecArray>
}

export async function run(
  args: readonly string[],
  options: { cwd?: string; env?: object } = {},
): Promise<Running> {
  const main = await builtCommand()
  const { REKINDLE_URL: _, REKINDLE_TOKEN: __, REKINDLE_TOKEN_FILE: ___, ...inherited } = process.env
  const child = spawn(process.execPath, [main, ...args], {
    cwd: options.cwd,
    env: { ...inherited, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text
      child.emit('said')
    })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, ...said }))
  })
  return {
    process: child,
    said,
    ended,
    says: (what) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = what.exec(said.stdout) ?? what.exec(said.stderr)
          if (found !== null) resolve(found)
        }
        child.on('said', look)
        void ended.then(({ code }) =>
          reject(new Error(`it ended with ${code} and never said ${what}:\n${said.stdout}\n${said.stderr}`)),
        )
        look()
      }),
  }
}

/** Runs a command to its end. */
export async function ends(
  args: readonly string[],
  options: { cwd?: string; env?: object } = {},
): Promise<Ended> {
  return (await run(args, options)).ended
}

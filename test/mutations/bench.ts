// Copies of the repository in which one line at a time is made wrong and tests are run. The working tree is
// only read. A copy has everything but what was built, so that a mutation never meets code built before it;
// it finds its packages through a link. Nothing here knows which mutations there are.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Mutation } from './mutations.ts'

/** What became of one mutation. Only `red` is as it should be. */
export type Verdict =
  | { readonly verdict: 'red'; readonly by: string; readonly test: string; readonly message: string }
  /** No test saw it: a test is missing. */
  | { readonly verdict: 'survived' }
  /** It proves nothing: it is not there to be made, does not compile, or its tests could not be run. */
  | { readonly verdict: 'void'; readonly why: string }

export type Outcome = Verdict & { readonly ms: number }

/** The folder of the repository, from the sources as from what is built. */
export function repository(): string {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
}

/** What vitest says of one run. */
interface Run {
  readonly failed: readonly { readonly title: string; readonly file: string; readonly message: string }[]
  readonly passed: number
  /** Why there is no more to say: files that can't be loaded, or no end. Null for a run like any other. */
  readonly broken: string | null
}

const NOT_COPIED = new Set(['node_modules', 'dist', '.git', '.rekindle', 'coverage'])
/** The tests' own limit is a minute a test; a file that takes longer hangs. */
const LONGEST_MS = 240_000

export class Bench {
  readonly #folder: string
  readonly #children = new Set<ChildProcess>()
  #closed = false

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** A fresh copy of the repository at `root` in the system's folder for temporary files. */
  static async copyOf(root: string): Promise<Bench> {
    const bench = new Bench(await mkdtemp(join(tmpdir(), 'rekindle-mutations-')))
    await cp(root, bench.#folder, {
      recursive: true,
      filter: (source) => source === root || !NOT_COPIED.has(basename(source)),
    })
    await mkdir(join(bench.#folder, 'node_modules'))
    // Packages one by one, so that what a test caches there stays in the copy.
    for (const name of await packagesOf(root))
      await symlink(join(root, 'node_modules', name), join(bench.#folder, 'node_modules', name))
    await writeFile(
      join(bench.#folder, 'tsconfig.rings.json'),
      JSON.stringify({ extends: './tsconfig.json', include: ['machines', 'runtime', 'store'] }),
    )
    return bench
  }

  /** Makes the mutation, runs its tests file by file until one is red, and unmakes it. */
  async try(mutation: Mutation): Promise<Outcome> {
    const began = performance.now()
    const path = join(this.#folder, mutation.file)
    const text = await readFile(path, 'utf8')
    try {
      const mutated = mutate(text, mutation)
      if (mutated === null) return ended({ verdict: 'void', why: `${mutation.file} has not one such place` })
      await writeFile(path, mutated)
      return ended(await this.#judge(mutation))
    } finally {
      if (!this.#closed) await writeFile(path, text)
    }

    function ended(verdict: Verdict): Outcome {
      return { ...verdict, ms: performance.now() - began }
    }
  }

  async #judge({ tests }: Mutation): Promise<Verdict> {
    const [errors, verdict] = await Promise.all([this.#compile(), this.#runTests(tests)])
    return errors === null ? verdict : { verdict: 'void', why: `it does not compile: ${errors}` }
  }

  async #runTests(tests: readonly string[]): Promise<Verdict> {
    for (const file of tests) {
      const { failed, passed, broken } = await this.run([file], 1)
      if (failed.length > 0) {
        const { title, message } = failed[0]!
        return { verdict: 'red', by: title, test: file, message }
      }
      if (broken !== null) return { verdict: 'void', why: broken }
      if (passed === 0) return { verdict: 'void', why: `${file} has no test` }
    }
    return { verdict: 'survived' }
  }

  async #compile(): Promise<string | null> {
    const tsc = join('node_modules', 'typescript', 'bin', 'tsc')
    const { code, output } = await this.#spawn([tsc, '-p', 'tsconfig.rings.json'])
    return code === 0 ? null : (output.split('\n')[0] ?? '').slice(0, 200)
  }

  /** Runs test files; stops at so many failures, 0 for never. */
  async run(files: readonly string[], bail = 0): Promise<Run> {
    const report = join(this.#folder, 'report.json')
    await rm(report, { force: true })
    const vitest = join('node_modules', 'vitest', 'vitest.mjs')
    const { code, output } = await this.#spawn([
      ...[vitest, 'run', ...files, `--bail=${bail}`],
      ...['--reporter=json', `--outputFile=${report}`],
    ])
    const said = await readFile(report, 'utf8').catch(() => null)
    const tail = output.trim().split('\n').slice(-5).join('\n')
    if (said === null) return { failed: [], passed: 0, broken: `${files.join(' ')}: no report; ${tail}` }
    return reportOf(JSON.parse(said) as Report, code, tail)
  }

  #spawn(args: readonly string[]): Promise<{ code: number | null; output: string }> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error('the copy is removed'))
      // A group of its own, so that vitest's workers end with it.
      const child = spawn(process.execPath, args, {
        cwd: this.#folder,
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: withoutVitest(process.env),
      })
      this.#children.add(child)
      const limit = setTimeout(() => end(child), LONGEST_MS)
      let output = ''
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          output = (output + text).slice(-20_000)
        })
      child.once('error', reject)
      child.once('close', (code, signal) => {
        clearTimeout(limit)
        this.#children.delete(child)
        resolve({
          code,
          output: signal === null ? output : `${output}\nno end after ${LONGEST_MS / 1_000} s`,
        })
      })
    })
  }

  /** Ends what runs and removes the copy; at once, so that a signal's handler may call it. */
  close(): void {
    this.#closed = true
    for (const child of this.#children) end(child)
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  }
}

/** The text with the mutation made, or null where it can't be made at just one place. */
export function mutate(text: string, { find, replace }: Pick<Mutation, 'find' | 'replace'>): string | null {
  const at = text.indexOf(find)
  if (at < 0 || text.indexOf(find, at + 1) >= 0) return null
  return text.slice(0, at) + replace + text.slice(at + find.length)
}

function end(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

/** What vitest tells its own workers is not for the vitest that is started here. */
function withoutVitest(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !/^(?:VITEST|VITE_|TEST$|NODE_ENV$)/.test(name)),
  )
}

async function packagesOf(root: string): Promise<string[]> {
  return (await readdir(join(root, 'node_modules'))).filter(
    (name) => !name.startsWith('.') || name === '.bin',
  )
}

interface Report {
  readonly numPassedTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly status: string
      readonly failureMessages: readonly string[] | null
    }[]
  }[]
}

function reportOf(report: Report, code: number | null, tail: string): Run {
  const failed = report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages }) => ({
        title: fullName,
        file: name,
        message: (failureMessages?.[0] ?? '').split('\n')[0]!,
      })),
  )
  const unloaded = report.testResults.find(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  )
  const broken =
    unloaded !== undefined
      ? `${unloaded.name} can't be loaded: ${unloaded.message.split('\n')[0]}`
      : code !== 0 && failed.length === 0
        ? `no test failed, yet the run did: ${tail}`
        : null
  return { failed, passed: report.numPassedTests, broken }
}

// What is published: packed as npm packs it, put into an empty project, used as a stranger would. The build
// goes to a temporary folder, so that this needs no `dist` and touches none.

import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { root } from '../architecture/source.ts'
import { asUser } from '../examples/as_user.ts'

interface PackageJson {
  readonly version: string
  readonly bin: { readonly rekindle: string }
  readonly dependencies: Readonly<Record<string, string>>
}

const run = promisify(execFile)
const tsc = join(root, 'node_modules/.bin/tsc')
/** Not needed by a program that embeds the runtime. */
const DOORS = ['hono', '@hono/node-server', 'commander', 'pino', '@xstate/graph']

let folder: string
let app: string
let packed: readonly string[]
let manifest: PackageJson

const node = (script: string, ...args: string[]) => run(process.execPath, [script, ...args], { cwd: app })

async function link(name: string): Promise<void> {
  const path = join(app, 'node_modules', name)
  await mkdir(dirname(path), { recursive: true })
  await symlink(join(root, 'node_modules', name), path, 'dir')
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rekindle-package-'))
  const built = join(folder, 'built')
  app = join(folder, 'app')
  await mkdir(built)
  manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  for (const name of ['package.json', 'README.md', 'LICENSE']) await cp(join(root, name), join(built, name))
  const project = join(root, 'tsconfig.build.json')
  await run(tsc, ['-p', project, '--outDir', join(built, 'dist')], { cwd: root }).catch(({ stdout }) => {
    throw new Error(`the build failed:\n${stdout}`)
  })
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: built,
  })
  const [{ filename, files }] = JSON.parse(stdout)
  packed = files.map(({ path }: { path: string }) => path)
  await mkdir(join(app, 'node_modules/rekindle'), { recursive: true })
  await run('tar', ['-xzf', join(folder, filename), '-C', join(app, 'node_modules/rekindle'), '--strip=1'])
  await writeFile(join(app, 'package.json'), '{ "private": true, "type": "module" }\n')
  for (const name of Object.keys(manifest.dependencies)) if (!DOORS.includes(name)) await link(name)
}, 120_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

describe('the package', () => {
  test('holds what was built, the testing kit, the licence and the README, and no test', () => {
    expect(packed).toEqual(expect.arrayContaining(['README.md', 'LICENSE', 'package.json']))
    expect(packed).toContain('dist/runtime/index.d.ts')
    expect(packed).toContain('dist/test/kit/index.d.ts')
    expect(packed.filter((path) => /\.test\.|\.ts$/.test(path) && !path.endsWith('.d.ts'))).toEqual([])
    expect(
      packed.filter((path) => !/^(?:dist\/(?:machines|runtime|store|test\/kit)\/|[A-Za-z.]+$)/.test(path)),
    ).toEqual([])
  })

  test('embeds without the packages of its doors: the server, the command line, the graph', async () => {
    expect((await readdir(join(app, 'node_modules'))).filter((name) => DOORS.includes(name))).toEqual([])
    await writeFile(
      join(app, 'embed.js'),
      "import { createRuntime } from 'rekindle'\nimport { jsonStore } from 'rekindle/store'\nconsole.log(typeof createRuntime, typeof jsonStore)\n",
    )
    expect((await node('embed.js')).stdout).toBe('function function\n')
  })

  test("runs the README's quick start, type-checked against its declarations, to its end", async () => {
    const source = await readFile(join(root, 'test/examples/quick_start.ts'), 'utf8')
    await writeFile(join(app, 'quick_start.ts'), asUser(source))
    await link('@types/node')
    await writeFile(
      join(app, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          ...{ module: 'nodenext', target: 'es2023', lib: ['es2023'], strict: true, types: ['node'] },
          // Our declarations are checked as well, and those they lead to.
          skipLibCheck: false,
        },
        files: ['quick_start.ts'],
      }),
    )
    const checked = await run(tsc, ['-p', app], { cwd: app }).catch((error) => error)
    expect(checked.stdout).toBe('')
    expect((await node('quick_start.js')).stdout).toBe('available\n')
    expect(await readdir(join(app, 'buckets'))).toHaveLength(1)
  })

  test('refuses at compile time an operation that a type does not have', async () => {
    const lines = [
      "import { type Doors, type volume } from 'rekindle'",
      'declare const doors: Doors<[typeof volume]>',
      "await doors.volume('id').extend({ size: 2 })",
      '// @ts-expect-error',
      "await doors.volume('id').explode()",
      '// @ts-expect-error',
      "await doors.volume('id').extend({ size: 'large' })",
    ]
    await writeFile(join(app, 'wrong.ts'), `${lines.join('\n')}\n`)
    await writeFile(
      join(app, 'tsconfig.wrong.json'),
      JSON.stringify({ extends: './tsconfig.json', compilerOptions: { noEmit: true }, files: ['wrong.ts'] }),
    )
    const checked = await run(tsc, ['-p', join(app, 'tsconfig.wrong.json')], { cwd: app }).catch((e) => e)
    expect(checked.stdout).toBe('')
  })

  test('loads nothing of the testing kit with the runtime, and no test runner with the kit', async () => {
    // Whatever is loaded is asked for by a resolve hook's name.
    await writeFile(
      join(app, 'hook.js'),
      "import { writeSync } from 'node:fs'\nexport const load = async (url, context, next) => (writeSync(1, url + '\\n'), next(url, context))\n",
    )
    await writeFile(
      join(app, 'loaded.js'),
      "import { register } from 'node:module'\nregister('./hook.js', import.meta.url)\nawait import(process.argv[2])\n",
    )
    const loadedBy = async (name: string) => (await node('loaded.js', name)).stdout.trim().split('\n')
    const runtime = await loadedBy('rekindle')
    expect(runtime.some((url) => url.endsWith('/dist/runtime/index.js'))).toBe(true)
    expect(runtime.filter((url) => url.includes('/test/'))).toEqual([])
    for (const name of DOORS) await link(name)
    const kit = await loadedBy('rekindle/testing')
    expect(kit.some((url) => url.endsWith('/dist/test/kit/index.js'))).toBe(true)
    expect(kit.filter((url) => /\/(?:vitest|fast-check)\//.test(url))).toEqual([])
  })

  test("gives the testing kit as rekindle/testing, type-checked, for a type of one's own", async () => {
    const source = await readFile(join(root, 'test/examples/quick_start.ts'), 'utf8')
    const definition = asUser(source).split('const driver')[0]
    await writeFile(
      join(app, 'kit.ts'),
      `${definition}\nimport { matrix } from 'rekindle/testing'\nconsole.log(matrix(bucket).split('\\n')[0])\n`,
    )
    await writeFile(
      join(app, 'tsconfig.kit.json'),
      JSON.stringify({ extends: './tsconfig.json', files: ['kit.ts'] }),
    )
    const checked = await run(tsc, ['-p', join(app, 'tsconfig.kit.json')], { cwd: app }).catch((e) => e)
    expect(checked.stdout).toBe('')
    expect((await node('kit.js')).stdout).toBe('# bucket\n')
  })

  test('gives the charts and their picture as rekindle/machines', async () => {
    await writeFile(
      join(app, 'machines.js'),
      "import { toMermaid, volume } from 'rekindle/machines'\nconsole.log(toMermaid(volume).split('\\n')[0])\n",
    )
    expect((await node('machines.js')).stdout).toBe('flowchart TD\n')
  })

  test('brings the command, which tells its version and ends its help with an example', async () => {
    const script = join(app, 'node_modules/rekindle', manifest.bin.rekindle)
    expect((await node(script, '--version')).stdout).toBe(`${manifest.version}\n`)
    expect((await node(script, '--help')).stdout).toMatch(/\nExample:\n {2}\$ rekindle .*\n$/)
  })
})

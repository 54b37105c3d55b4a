// Who may import whom. machines/ decides, store/ remembers, runtime/ wires both; doors stand outside and use
// the public way in. These tests read the sources and load nothing.

import { describe, expect, test } from 'vitest'
import { type Import, type Source, sourceFrom, sourcesOf } from './source.ts'

const machines = sourcesOf('machines')
const store = sourcesOf('store')
const runtime = sourcesOf('runtime')
const shipped = [...machines, ...store, ...runtime]
const kit = sourcesOf('test/kit')
const byPath = new Map([...shipped, ...kit].map((source) => [source.path, source]))

const isHere = ({ to }: Import) => to.endsWith('.ts')
const inFolder = (folder: string) => (to: string) => to.startsWith(`${folder}/`)

/** Every import that the rule does not allow, as `who -> whom`. */
function strangers(sources: readonly Source[], isAllowed: (to: string, path: string) => boolean): string[] {
  return sources.flatMap(({ path, imports }) =>
    imports.filter(({ to }) => !isAllowed(to, path)).map(({ to }) => `${path} -> ${to}`),
  )
}

/** All files that a file loads, itself included. */
function reach(path: string): Set<string> {
  const seen = new Set<string>()
  const left = [path]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    for (const entry of byPath.get(next)?.imports ?? []) {
      if (entry.isTypeOnly || entry.isDynamic) continue
      if (isHere(entry)) left.push(entry.to)
      else seen.add(entry.to)
    }
  }
  return seen
}

describe('the rings', () => {
  test('machines/ imports xstate, zod and a type of the schema contract; graph.ts alone the graph package', () => {
    const allowed = ['xstate', 'zod', '@standard-schema/spec']
    expect(
      strangers(
        machines,
        (to, path) =>
          inFolder('machines')(to) ||
          allowed.includes(to) ||
          (to === '@xstate/graph' && path === 'machines/graph.ts'),
      ),
    ).toEqual([])
    const values = machines.flatMap(({ imports }) => imports).filter(({ isTypeOnly }) => !isTypeOnly)
    expect(values.map(({ to }) => to)).not.toContain('@standard-schema/spec')
  })

  test('store/ imports lowdb and Node, and knows no chart', () => {
    const allowed = ['lowdb']
    expect(
      strangers(store, (to) => inFolder('store')(to) || allowed.includes(to) || to.startsWith('node:')),
    ).toEqual([])
  })

  test('runtime/ imports the two other rings and no test', () => {
    const allowed = ['xstate', '@standard-schema/spec']
    const inside = runtime.filter(({ path }) => !isDoor(path))
    const rings = ['machines', 'store', 'runtime'].map(inFolder)
    expect(
      strangers(
        inside,
        (to) =>
          (rings.some((isIn) => isIn(to)) && !isDoor(to)) || allowed.includes(to) || to.startsWith('node:'),
      ),
    ).toEqual([])
  })

  test('nothing that is shipped imports a test', () => {
    expect(strangers(shipped, (to) => !inFolder('test')(to))).toEqual([])
  })

  test('the testing kit loads no test runner, no door and no other test; two files load the graph package', () => {
    const loaded = [...reach('test/kit/index.ts')]
    const others = loaded.filter(
      (path) => !shipped.some((source) => source.path === path) && !inFolder('test/kit')(path),
    )
    const allowed = ['xstate', '@xstate/graph', 'zod', 'lowdb']
    expect(others.filter((to) => !allowed.includes(to) && !to.startsWith('node:'))).toEqual([])
    expect(loaded.filter((path) => isDoor(path))).toEqual([])
    const drawing = [...shipped, ...kit].filter(({ imports }) =>
      imports.some(({ to }) => to === '@xstate/graph'),
    )
    expect(drawing.map(({ path }) => path)).toEqual(['machines/graph.ts', 'test/kit/paths.ts'])
  })

  test("the HTTP door uses the runtime's public way in", () => {
    const allowed = ['hono', '@hono/node-server', 'prom-client', 'zod', 'runtime/index.ts']
    expect(
      strangers(
        runtime.filter(({ path }) => inFolder('runtime/http')(path)),
        (to) => inFolder('runtime/http')(to) || allowed.includes(to) || to.startsWith('node:'),
      ),
    ).toEqual([])
  })

  test("the page uses the runtime's public way in, and its client the UI library", () => {
    const allowed = [
      'zod',
      'machines/index.ts',
      'runtime/index.ts',
      'elkjs/lib/elk.bundled.js',
      'elkjs/lib/elk-api.js',
    ]
    const isDriver = (to: string) => /^runtime\/drivers\/[a-z_]+\.ts$/.test(to)
    const page = runtime.filter(({ path }) => inFolder('runtime/page')(path))
    const [client, server] = [true, false].map((isClient) =>
      page.filter(({ path }) => inFolder('runtime/page/client')(path) === isClient),
    )
    expect(
      strangers(
        server!,
        (to) =>
          (inFolder('runtime/page')(to) && !inFolder('runtime/page/client')(to)) ||
          allowed.includes(to) ||
          isDriver(to) ||
          to.startsWith('node:'),
      ),
    ).toEqual([])
    expect(strangers(client!, (to) => inFolder('runtime/page')(to) || to.startsWith('preact'))).toEqual([])
  })

  test('the command uses public ways in: the runtime, the stores, the drivers, the HTTP door', () => {
    const allowed = [
      ...['commander', 'zod', 'pino'],
      'machines/index.ts',
      'store/index.ts',
      'runtime/index.ts',
      'runtime/http/index.ts',
      'runtime/page/index.ts',
      // Public too, by runtime/index.ts; a client needs timers and not the whole runtime.
      'runtime/environment.ts',
      // What a configuration is judged by, and the words of it, before anything of the runtime is loaded.
      ...['machines/error.ts', 'runtime/log.ts', 'runtime/settings.ts', 'runtime/placement_options.ts'],
      'rekindle/testing',
    ]
    const isDriver = (to: string) => /^runtime\/drivers\/[a-z_]+\.ts$/.test(to)
    expect(
      strangers(
        runtime.filter(({ path }) => inFolder('runtime/command')(path)),
        (to) =>
          inFolder('runtime/command')(to) || allowed.includes(to) || isDriver(to) || to.startsWith('node:'),
      ),
    ).toEqual([])
    // The testing kit is loaded by the commands that need it, when they are called.
    const early = shipped.flatMap(({ path, imports }) =>
      imports
        .filter(({ to, isTypeOnly, isDynamic }) => to === 'rekindle/testing' && !isTypeOnly && !isDynamic)
        .map(() => path),
    )
    expect(early).toEqual([])
  })

  test('importing the runtime loads no door, no command and no graph package', () => {
    const loaded = [...reach('runtime/index.ts')]
    expect(loaded.filter((path) => isDoor(path))).toEqual([])
    for (const name of [
      'hono',
      '@hono/node-server',
      'commander',
      'pino',
      'prom-client',
      '@xstate/graph',
      'machines/graph.ts',
    ])
      expect(loaded).not.toContain(name)
  })

  test('the command starts without what its subcommands load when they are called', () => {
    const loaded = [...reach('runtime/command/main.ts')]
    for (const name of [
      'runtime/index.ts',
      'runtime/http/index.ts',
      'runtime/page/index.ts',
      'zod',
      'xstate',
    ])
      expect(loaded).not.toContain(name)
  })

  test('importing machines/ or store/ loads nothing of the runtime', () => {
    for (const path of ['machines/index.ts', 'store/index.ts'])
      expect([...reach(path)].filter(inFolder('runtime'))).toEqual([])
  })
})

describe('cycles', () => {
  test('no file imports itself by a detour', () => {
    const loading = shipped.map((source) => ({
      ...source,
      imports: source.imports.filter(({ isTypeOnly }) => !isTypeOnly),
    }))
    expect(cyclesIn(loading)).toEqual([])
  })

  test('types make no detour either', () => {
    // A registration is asked for by the configuration of its node, which is declared beside the node's life.
    const known = 'runtime/registration.ts -> runtime/node.ts -> runtime/registration.ts'
    expect(cyclesIn(shipped).filter((cycle) => cycle !== known)).toEqual([])
  })

  test('a cycle that is there is found', () => {
    const a = sourceFrom('machines/a.ts', "import { b } from './b.ts'\n")
    const b = sourceFrom('machines/b.ts', "import type { a } from './a.ts'\n")
    expect(cyclesIn([a, b])).toEqual(['machines/a.ts -> machines/b.ts -> machines/a.ts'])
  })
})

function isDoor(path: string): boolean {
  return ['runtime/http', 'runtime/command', 'runtime/page'].some((folder) => inFolder(folder)(path))
}

function cyclesIn(sources: readonly Source[]): string[] {
  const known = new Map(sources.map((source) => [source.path, source]))
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, way: readonly string[]) => {
    const at = way.indexOf(path)
    if (at >= 0) cycles.push([...way.slice(at), path].join(' -> '))
    if (at >= 0 || done.has(path)) return
    for (const { to } of known.get(path)?.imports.filter(isHere) ?? []) visit(to, [...way, path])
    done.add(path)
  }
  for (const path of known.keys()) visit(path, [])
  return cycles
}

test('every way to import is seen', () => {
  const text = [
    "import 'a'",
    "import b from 'b'",
    "import c, { type C } from 'c'",
    "import {\n  type D,\n} from 'd'",
    "import type { E } from 'e'",
    "export * from './f.ts'",
    "const g = await import('g') // import 'h'",
  ].join('\n')
  const { imports } = sourceFrom('store/x.ts', text)
  expect(imports.map(({ to, isTypeOnly }) => `${to}${isTypeOnly ? ' type' : ''}`)).toEqual([
    'a',
    'b',
    'c',
    'd type',
    'e type',
    'store/f.ts',
    'g',
  ])
})

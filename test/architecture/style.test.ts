// The house rules that a machine can check: where time and the terminal may be touched, how files and names
// are called, how a file begins. Every exception stands here by name, with its reason.

import { readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { describe, expect, test } from 'vitest'
import { backup, snapshot, volume } from '../../machines/index.ts'
import { placeOf, root, type Source, sourceFrom, sourcesOf } from './source.ts'

const shipped = sourcesOf('machines', 'store', 'runtime')
const everything = [...shipped, ...sourcesOf('test')]
/** What users see, or may: the kit is to be theirs as well. */
const published = everything.filter(({ path }) => !path.startsWith('test/') || path.startsWith('test/kit/'))

function found(sources: readonly Source[], pattern: RegExp): string[] {
  return sources.flatMap((source) =>
    [...source.code.matchAll(pattern)].map((match) => `${placeOf(source, match.index)} ${match[0].trim()}`),
  )
}

const besides = (...paths: readonly string[]) =>
  shipped.filter(({ path }) => !paths.some((allowed) => path === allowed || path.startsWith(`${allowed}/`)))

describe('time, chance and the terminal', () => {
  test('the clock, timers and chance are touched in runtime/environment.ts', () => {
    const pattern =
      /\b(?:Date\.now|new Date\b|Date\(|setTimeout|setInterval|Math\.random|randomUUID|randomBytes|performance\.now|hrtime|queueMicrotask\.|Atomics\.wait)/g
    // The demo's volumes hold bytes that no checksum could guess; what runs in a browser has the browser's time.
    const allowed = ['runtime/environment.ts', 'runtime/command/demo.ts', 'runtime/page/client']
    expect(found(besides(...allowed), pattern)).toEqual([])
  })

  test("the event loop is given way to in the store's file system alone", () => {
    expect(found(besides('store/json/file_system.ts'), /\bsetImmediate\b/g)).toEqual([])
  })

  test('machines/ knows no promise', () => {
    const machines = shipped.filter(({ path }) => path.startsWith('machines/'))
    expect(found(machines, /\b(?:async|await|Promise)\b/g)).toEqual([])
  })

  test('the console is touched nowhere, the process and its streams in the command alone', () => {
    expect(found(shipped, /\bconsole\b/g)).toEqual([])
    const allowed = [
      // Which sort of socket a system has, and the pid that a second process is told.
      'store/json/lock.ts',
      // Windows can't sync a folder.
      'store/json/file_system.ts',
    ]
    expect(found(besides('runtime/command', ...allowed), /\bprocess\.\w+/g)).toEqual([])
  })
})

describe('statuses', () => {
  const statuses = new Set([volume, snapshot, backup].flatMap((type) => type.statuses.all))
  // Where a table says 'new', it says which operation makes the resource.
  statuses.delete('new')

  /** By file: the word, and why it is no status there or may stand there. */
  const allowed: Readonly<Record<string, readonly string[]>> = {
    // A cleanup policy of the tables.
    'runtime/work.ts': ['gone'],
    // Rows of every kind end as gone; the sweep forgets them after their time.
    'runtime/scheduler.ts': ['gone'],
    // How an actor of xstate has ended.
    'runtime/node.ts': ['error'],
    // A level of the log.
    'runtime/log.ts': ['error'],
    'runtime/http/answer.ts': ['error'],
    // A label for the eye.
    'runtime/command/resources.ts': ['error'],
    // A field of what is sent.
    'runtime/page/step.ts': ['error'],
    // A row that was removed is shown as one that is gone.
    'runtime/page/client/model.ts': ['gone'],
  }

  /** The name of a system's event, or of a field. */
  const isOtherwise = (before: string) => /(?:\.(?:on|once|emit|removeAllListeners)\(|\w\[)$/.test(before)

  test('no status is named in the code of store/ and runtime/, the drivers and the demo aside', () => {
    const outside = shipped.filter(
      ({ path }) =>
        !/^(?:machines\/|runtime\/drivers\/|runtime\/command\/demo|runtime\/page\/story)/.test(path),
    )
    const named = outside.flatMap(({ path, quoted }) =>
      quoted
        .filter(({ value, before }) => statuses.has(value) && !isOtherwise(before))
        .filter(({ value }) => !allowed[path]?.includes(value))
        .map(({ value, line }) => `${path}:${line} ${value}`),
    )
    expect(named).toEqual([])
  })
})

describe('names', () => {
  /** What each says instead: operation, resource or row, down, cleanup; see the glossary of the README. */
  const banned = ['manager', 'job', 'dead', 'offline', 'entity', 'record', 'workflow', 'recovery', 'lock']

  /** Words of another subject, where they are the right ones. */
  const allowed: readonly {
    readonly where: RegExp
    readonly words: readonly string[]
    readonly why: string
  }[] = [
    {
      where: /^store\/json\//,
      words: ['record', 'recovery'],
      why: 'what a journal holds, and reading it back',
    },
    {
      where: /^store\/json\/|^test\/kit\/faulty/,
      words: ['lock'],
      why: 'one process owns a folder: a lock it is',
    },
    {
      where: /^runtime\/(?:http\/|command\/(?:configuration|serve_drivers)\.ts)/,
      words: ['record'],
      why: "zod's word for an object with any names",
    },
    { where: /^test\/kit\//, words: ['record'], why: 'a verb there: the kit records what it saw' },
  ]

  /** `recordProgress` is a verb, `Record<K, V>` the language's. */
  const isOther = (word: string, name: string) =>
    word === 'record' && (name === 'Record' || /^record[A-Z]/.test(name))

  function wordsOf(name: string): string[] {
    return name
      .split(/[^A-Za-z]+|(?<=[a-z])(?=[A-Z])/)
      .map((word) => word.toLowerCase().replace(/s$/, ''))
      .filter((word) => word !== '')
  }

  function bannedIn(sources: readonly Source[]): string[] {
    const names = sources.flatMap(({ path, code }) => [
      { path, name: basename(path, '.ts') },
      ...[...new Set(code.match(/[A-Za-z_$][\w$]*/g) ?? [])].map((name) => ({ path, name })),
    ])
    return names.flatMap(({ path, name }) =>
      wordsOf(name)
        .filter((word) => banned.includes(word) && !isOther(word, name))
        .filter((word) => !allowed.some(({ where, words }) => where.test(path) && words.includes(word)))
        .map((word) => `${path}: ${name} (${word})`),
    )
  }

  test('no name uses a word that the glossary has another one for', () => {
    expect(bannedIn(published)).toEqual([])
  })

  test('a banned word that is there is found, in a comment it is not', () => {
    const source = sourceFrom('runtime/a.ts', '// the job\nconst jobQueue: Record<string, number> = {}\n')
    expect(bannedIn([source])).toEqual(['runtime/a.ts: jobQueue (job)'])
  })

  test('no file is named after what does not tell its subject', () => {
    const vague = /^(?:utils?|helpers?|common|types|constants|misc|shared)(?:\.test)?\.ts$/
    expect(everything.map(({ path }) => path).filter((path) => vague.test(basename(path)))).toEqual([])
  })

  test('files are named in lower case with underscores', () => {
    expect(
      everything
        .map(({ path }) => path)
        .filter((path) => !/^[a-z0-9_]+(?:\.test)?\.ts$/.test(basename(path))),
    ).toEqual([])
  })
})

describe('files', () => {
  test('index.ts only re-exports', () => {
    const more = shipped
      .filter(({ path }) => basename(path) === 'index.ts')
      .flatMap((source) => {
        const rest = source.code.replace(/export\s+(?:type\s+)?(?:\*|\{[^}]*\})\s+from\s+'[^']*'\s*;?/g, '')
        return rest.trim() === '' ? [] : [`${source.path}: ${rest.trim().slice(0, 60)}`]
      })
    expect(more).toEqual([])
  })

  test('nothing is exported by default, and there is no enum', () => {
    expect(found(everything, /\bexport default\b|^\s*(?:export )?(?:const )?enum\b/gm)).toEqual([])
  })

  test('every file begins with a few lines of comment that say what it is', () => {
    const silent = shipped
      .filter(({ path }) => basename(path) !== 'index.ts')
      .filter(({ text }) => {
        const lines = text.replace(/^#!.*\n/, '').split('\n')
        const comment = lines.findIndex((line) => !line.startsWith('//'))
        return comment < 1 || comment > 8
      })
      .map(({ path }) => path)
    expect(silent).toEqual([])
  })

  test('nothing in the tree names a folder of the machine it was written on', () => {
    // `/home/me` is nobody's.
    const pattern = /(?<![\w.])\/(?:home|Users|root)\/(?!me\b)\w+/
    const places = everything
      .filter(({ path }) => path !== 'test/architecture/style.test.ts')
      .filter(({ text }) => pattern.test(text) || text.includes(`${root}/`))
      .map(({ path }) => path)
    expect(places).toEqual([])
  })

  test('the top level holds the three rings, the tests and what tools insist on', () => {
    const known = [
      ...['LICENSE', 'README.md', 'biome.json', 'dist', 'machines', 'node_modules', 'package-lock.json'],
      ...['package.json', 'runtime', 'store', 'test', 'tsconfig.build.json', 'tsconfig.json'],
      'vitest.config.ts',
    ]
    const visible = readdirSync(root).filter((name) => !name.startsWith('.'))
    expect(visible.filter((name) => !known.includes(name))).toEqual([])
  })
})

// The sources as text: their imports, and their code without comments and without what stands in quotes.
// The compiler has no stable interface to ask, so this reads as a careful person would. It judges nothing.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '../..')

export interface Import {
  /** A file of this repository by its path, or a package's or Node's name. */
  readonly to: string
  readonly isTypeOnly: boolean
  /** `import()` at run time. */
  readonly isDynamic: boolean
}

export interface Source {
  /** From the root, with slashes. */
  readonly path: string
  readonly text: string
  /** Comments and the insides of quotes are blank; every other character is where it was. */
  readonly code: string
  readonly quoted: readonly { readonly value: string; readonly line: number; readonly before: string }[]
  readonly imports: readonly Import[]
}

/** Every TypeScript file below these folders, in order. */
export function sourcesOf(...folders: readonly string[]): readonly Source[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
      .sort()
      .map((path) => sourceFrom(path, readFileSync(join(root, path), 'utf8'))),
  )
}

export function sourceFrom(path: string, text: string): Source {
  const { code, quoted } = read(text)
  return { path, text, code, quoted, imports: importsOf(path, text, code) }
}

/** Where in a source a character stands: `store/plan.ts:12`. */
export function placeOf(source: Source, index: number): string {
  return `${source.path}:${source.text.slice(0, index).split('\n').length}`
}

function importsOf(path: string, text: string, code: string): Import[] {
  const imports: Import[] = []
  const add = (name: string, isTypeOnly: boolean, isDynamic: boolean) => {
    const to = name.startsWith('.')
      ? relative(root, resolve(root, dirname(path), name)).replaceAll('\\', '/')
      : name
    imports.push({ to, isTypeOnly, isDynamic })
  }
  // The keyword is found in the code, the name in the text: quotes are blank in the code.
  for (const match of code.matchAll(/^(?:import\s+|(?:import|export)\b(?!\()[^;=]*?from\s*)(?=['"])/gm)) {
    const [, name] = /^['"]([^'"]*)/.exec(text.slice(match.index + match[0].length)) ?? []
    const names = /^(?:import|export)\s*\{([^}]*)\}/.exec(match[0])?.[1]
    const everyNameIsType =
      names !== undefined &&
      names.trim() !== '' &&
      names
        .split(',')
        .filter((part) => part.trim() !== '')
        .every((part) => part.trim().startsWith('type '))
    add(name!, /^(?:import|export) type\b/.test(match[0]) || everyNameIsType, false)
  }
  for (const match of code.matchAll(/\bimport\(\s*(?=['"])/g)) {
    const [, name] = /^['"]([^'"]*)/.exec(text.slice(match.index + match[0].length)) ?? []
    add(name!, false, true)
  }
  return imports
}

/** A small scanner: comments, quotes, templates with code inside, regular expressions. */
function read(text: string): Pick<Source, 'code' | 'quoted'> {
  const code = text.split('')
  const quoted: { value: string; line: number; before: string }[] = []
  const blank = (from: number, to: number) => {
    for (let at = from; at < to; at++) if (code[at] !== '\n') code[at] = ' '
  }
  /** The depth of braces at which each open template goes on. */
  const templates: number[] = []
  let depth = 0
  let at = 0
  const skipTemplate = (from: number): number => {
    let end = from
    while (end < text.length && text[end] !== '`' && !text.startsWith('${', end))
      end += text[end] === '\\' ? 2 : 1
    blank(from, end)
    if (text[end] === '`') return end + 1
    templates.push(depth++)
    return end + 2
  }
  while (at < text.length) {
    const mark = text[at]!
    if (text.startsWith('//', at) || (at === 0 && text.startsWith('#!'))) {
      const end = text.indexOf('\n', at)
      blank(at, end < 0 ? text.length : end)
      at = end < 0 ? text.length : end
    } else if (text.startsWith('/*', at)) {
      const end = text.indexOf('*/', at) + 2
      blank(at, end)
      at = end
    } else if (mark === "'" || mark === '"') {
      let end = at + 1
      while (text[end] !== mark) end += text[end] === '\\' ? 2 : 1
      const line = text.slice(0, at).split('\n').length
      quoted.push({ value: text.slice(at + 1, end), line, before: text.slice(Math.max(0, at - 40), at) })
      blank(at + 1, end)
      at = end + 1
    } else if (mark === '`') at = skipTemplate(at + 1)
    else if (
      mark === '/' &&
      /(?:[(,=:[!&|?{};\n]|return|^)\s*$/.test(code.slice(Math.max(0, at - 20), at).join(''))
    ) {
      let end = at + 1
      for (let inClass = false; text[end] !== '/' || inClass; end++) {
        if (text[end] === '\\') end++
        else if (text[end] === '[') inClass = true
        else if (text[end] === ']') inClass = false
      }
      blank(at + 1, end)
      at = end + 1
    } else {
      if (mark === '{') depth++
      if (mark === '}') {
        depth--
        if (templates.at(-1) === depth) {
          templates.pop()
          at = skipTemplate(at + 1)
          continue
        }
      }
      at++
    }
  }
  return { code: code.join(''), quoted }
}

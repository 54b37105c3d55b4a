// The parts of the README that are made from the code: between `<!-- name -->` and `<!-- /name -->`. Charts
// are drawn by toMermaid, tables are read from the sources that they describe, comments included.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { backup, nodeChart, snapshot, supervisorChart, toMermaid, volume } from '../../machines/index.ts'
import { addCommands } from '../../runtime/command/commands.ts'
import { createDoor, metricName } from '../../runtime/http/index.ts'
import { defaultSettings, MEASURES, type MeasureName, type Runtime } from '../../runtime/index.ts'
import { root } from '../architecture/source.ts'
import { asUser } from '../examples/as_user.ts'
import { closed, comparisons, operationRows } from './block_storage.ts'

const fileText = (path: string) => readFileSync(join(root, path), 'utf8')
const fenced = (language: string, text: string) => `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``
const cell = (text: string) => text.replaceAll('|', '\\|').replace(/\s+/g, ' ').trim()

function tableOf(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(heads), `|${heads.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

/** The text between two lines that begin with these words. */
function part(path: string, from: string, to: string): string {
  const text = fileText(path)
  const start = text.indexOf(from)
  const end = text.indexOf(to, start + from.length)
  if (start < 0 || end < 0) throw new Error(`${path} has no part from '${from}' to '${to}'`)
  return text.slice(start + from.length, end)
}

interface Entry {
  readonly comment: string
  readonly name: string
}

/** Names that a pattern finds, each with the comment that stands above it, or above the names before it. */
function commented(text: string, pattern: RegExp): Entry[] {
  const entries: Entry[] = []
  let comment = ''
  for (const match of text.matchAll(/[ \t]*\/\*\*([\s\S]*?)\*\/|([^\n]+)/g)) {
    if (match[1] !== undefined) comment = match[1].replace(/\n\s*\* ?/g, ' ').trim()
    const name = pattern.exec(match[2] ?? '')?.[1]
    if (name !== undefined) entries.push({ comment, name })
  }
  return entries
}

/** A union of codes, one row for those that share a comment. */
function codesIn(path: string, type: string, until: string): string {
  const byComment = new Map<string, string[]>()
  for (const { comment, name } of commented(part(path, `export type ${type} =`, until), /^\s*\| '([a-z_]+)'/))
    byComment.set(comment, [...(byComment.get(comment) ?? []), name])
  return tableOf(
    ['code', 'means'],
    [...byComment].map(([comment, names]) => [names.map((name) => `\`${name}\``).join(', '), comment]),
  )
}

/** Settings that share the comment of the one before. */
const WITHOUT_COMMENT: Readonly<Record<string, string>> = {
  schedulers: 'Schedulers in this process.',
  restarts_within_ms: 'The period of `restarts`.',
}

function settingsTable(): string {
  const rows = commented(
    part('runtime/settings.ts', 'export interface Settings {', '\n}'),
    /^\s*readonly (\w+):/,
  )
  const shared = rows.map(({ name, comment }, i) => {
    const value = defaultSettings[name as keyof typeof defaultSettings]
    const isSame = comment === rows[i - 1]?.comment
    return [`\`${name}\``, value.toLocaleString('en-US'), isSame ? WITHOUT_COMMENT[name]! : comment]
  })
  return tableOf(['setting', 'default', 'what it is'], shared)
}

function commandsTable(): string {
  const program = new Command('rekindle')
  addCommands(program)
  const rows: string[][] = []
  const walk = (command: Command, before: string) => {
    for (const child of command.commands) {
      const name = `${before}${child.name()}`
      if (child.commands.length > 0) {
        walk(child, `${name} `)
        continue
      }
      const given = child.registeredArguments.map((argument) => ` <${argument.name()}>`).join('')
      const flags = child.options
        .filter(({ long }) => long !== '--url' && long !== '--json')
        .map(({ flags, description, defaultValue }) => {
          const otherwise = typeof defaultValue === 'string' || typeof defaultValue === 'number'
          return `\`${flags}\` ${description}${otherwise ? ` (default \`${defaultValue}\`)` : ''}`
        })
      rows.push([`\`${name}${given}\``, child.description(), flags.join('<br>')])
    }
  }
  walk(program, '')
  return tableOf(['command', 'does', 'flags'], rows)
}

async function routesTable(): Promise<string> {
  const nothing = { kinds: [], state: () => 'open' } as unknown as Runtime
  const door = createDoor(nothing)
  const answer = await door.fetch(new Request('http://localhost/'))
  const { routes } = (await answer.json()) as { routes: { route: string; what: string }[] }
  return tableOf(
    ['route', 'does'],
    routes.map(({ route, what }) => [`\`${route}\``, what]),
  )
}

function metricsTable(): string {
  return tableOf(
    ['metric', 'is', 'labels'],
    Object.entries(MEASURES).map(([name, [type, help, labels]]) => [
      `\`${metricName(name as MeasureName)}\``,
      type === 'counter' ? help : `${type}: ${help}`,
      labels.map((label) => `\`${label}\``).join(', '),
    ]),
  )
}

function statusTable(): string {
  const byStatus = new Map<string, string[]>()
  for (const [, code, status] of part('runtime/http/answer.ts', 'const STATUS', '\n}').matchAll(
    /(\w+): (\d{3})/g,
  ))
    byStatus.set(status!, [...(byStatus.get(status!) ?? []), `\`${code}\``])
  return tableOf(
    ['status', '`error.code`'],
    [...byStatus].map(([status, codes]) => [status, codes.join(', ')]),
  )
}

/** The fields of a shape in a table of the README; every one has a comment or a plain name. */
export function fieldsOf(shape: string): readonly string[] {
  return commented(
    part(`machines/${shape === 'Versioned' ? 'version' : 'table'}.ts`, `export interface ${shape} `, '\n}'),
    /^ {2}readonly (\w+)\??:/,
  ).map(({ name }) => name)
}

/** Every generated section by its name. */
export async function sections(): Promise<Readonly<Record<string, string>>> {
  const example = (name: string) => fenced('ts', asUser(fileText(`test/examples/${name}.ts`)))
  return {
    'quick-start': example('quick_start'),
    'own-type': example('dns_record'),
    'chart-volume': fenced('mermaid', toMermaid(volume)),
    'chart-snapshot': fenced('mermaid', toMermaid(snapshot)),
    'chart-backup': fenced('mermaid', toMermaid(backup)),
    'chart-node': fenced('mermaid', toMermaid(nodeChart)),
    'chart-supervisor': fenced('mermaid', toMermaid(supervisorChart)),
    operations: tableOf(
      ['operation', 'from', 'through', 'to', 'driver fails', 'node goes down', 'only if'],
      operationRows(),
    ),
    'cinder-operations': tableOf(
      ['Cinder', 'here', 'what differs'],
      comparisons.map(([cinder, ours, note]) => [
        cinder,
        ours.map((name) => `\`${name}\``).join(', ') || '-',
        note,
      ]),
    ),
    'cinder-closed': tableOf(['in Cinder', 'here'], closed),
    settings: settingsTable(),
    commands: commandsTable(),
    routes: await routesTable(),
    'http-codes': statusTable(),
    metrics: metricsTable(),
    'runtime-errors': codesIn('runtime/error.ts', 'RekindleErrorCode', '\n\n'),
    'store-errors': codesIn('store/error.ts', 'StoreErrorCode', '\n\n'),
    'file-driver-errors': codesIn('runtime/drivers/file/error.ts', 'FileDriverErrorCode', '\n\n'),
  }
}

/** The README with every section as it should be. Throws where a section has no place. */
export function withSections(readme: string, made: Readonly<Record<string, string>>): string {
  let text = readme
  for (const [name, content] of Object.entries(made)) {
    const pattern = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`)
    if (!pattern.test(text)) throw new Error(`the README has no place for '${name}'`)
    text = text.replace(pattern, (_, open: string, close: string) => `${open}\n${content}\n\n${close}`)
  }
  return text
}

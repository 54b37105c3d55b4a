// npm run sabotage: switches each rule of the protocol off and prints what finds it. With --readme it writes the
// table into the README, between its marks. Exits 1 when a rule that is off stays unfound, or when something is
// found though all rules are on.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Rule, rules } from '../kit/rules.ts'
import { amissIn, sabotageTable, tableMarkdown, tableText } from '../kit/sabotage_table.ts'

const HELP = `npm run sabotage -- [--only RULE[,RULE...]] [--json] [--readme]

Switches each rule of the protocol off, from outside, and has it found: by a seed of the simulation, and by
exploring every state of the smallest configuration that shows it. With the rule on, nothing may be found.

  --only RULE   these rules only: R1, R2, ...
  --json        the table as JSON, with the steps of the shortest counterexamples
  --readme      write the table into README.md as well
  --help        this text

Exits 0 when every rule was found and nothing else was, else 1.`

const say = (line: string) => process.stderr.write(`${line}\n`)
const print = (text: string) => process.stdout.write(`${text}\n`)

function chosen(only: string | undefined): readonly Rule[] {
  if (only === undefined) return rules
  const asked = only.split(',')
  const unknown = asked.find((rule) => !(rules as readonly string[]).includes(rule))
  if (unknown !== undefined) throw new Error(`there is no rule '${unknown}' here: ${rules.join(', ')}`)
  return asked as readonly string[] as readonly Rule[]
}

/** Between `<!-- sabotage table -->` and `<!-- /sabotage table -->`. */
function writeIntoReadme(table: string): void {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'README.md'))) folder = dirname(folder)
  const path = join(folder, 'README.md')
  const text = readFileSync(path, 'utf8')
  const marked = /(<!-- sabotage table -->)[\s\S]*?(<!-- \/sabotage table -->)/
  if (!marked.test(text)) throw new Error(`${path} has no place for it: <!-- sabotage table -->`)
  writeFileSync(
    path,
    text.replace(marked, (_, open: string, close: string) => `${open}\n\n${table}\n\n${close}`),
  )
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      json: { type: 'boolean', default: false },
      readme: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    print(HELP)
    return 0
  }
  if (values.readme && values.only !== undefined) throw new Error('--readme needs the whole table')
  const began = performance.now()
  const seconds = () => `${((performance.now() - began) / 1_000).toFixed(1)} s`
  const rows = await sabotageTable({
    rules: chosen(values.only),
    onRow: (row) => say(`${seconds()} ${row.rule} ${amissIn(row) ?? 'found'}`),
  })
  print(values.json ? JSON.stringify(rows, null, 2) : tableText(rows))
  const amiss = rows.flatMap((row) => amissIn(row) ?? [])
  for (const what of amiss) say(what)
  if (values.readme && amiss.length === 0) writeIntoReadme(tableMarkdown(rows))
  return amiss.length === 0 ? 0 : 1
}

process.exitCode = await main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error))
  return 1
})

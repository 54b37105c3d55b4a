// The sabotage table of the README is what `npm run sabotage` prints: every rule is in it, found both ways. The
// rules that are found soonest are found again here; the script does the others.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../architecture/source.ts'
import { type Rule, rules } from '../kit/rules.ts'
import { amissIn, sabotageTable } from '../kit/sabotage_table.ts'

function inReadme(): readonly string[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const table = /<!-- sabotage table -->([\s\S]*?)<!-- \/sabotage table -->/.exec(readme)?.[1]
  return (table ?? '').split('\n').filter((line) => line.startsWith('|'))
}

test('every rule is in the table of the README, found by a seed and by exploration', () => {
  const rows = inReadme().slice(2)
  expect(rows.map((row) => row.split(' | ')[0]!.slice(2))).toEqual([...rules])
  expect(
    rows.filter((row) => !/seed \d+, [\d,]+ steps: \w+ \| [\d,]+ states, \d+ choices: \w+ \|/.test(row)),
  ).toEqual([])
})

test.each<Rule>(['R2', 'R4', 'R17'])(
  '%s switched off is still found, by the seed that the README names',
  async (rule) => {
    const seed = Number(
      inReadme()
        .find((row) => row.startsWith(`| ${rule} |`))
        ?.match(/seed (\d+)/)?.[1],
    )
    const rows = await sabotageTable({ rules: [rule], seeds: seed })
    expect(rows.map(amissIn)).toEqual([null])
    expect(rows[0]!.simulation!.seed, 'refresh it with: npm run sabotage -- --readme').toBe(seed)
  },
)

test('a rule that no seed finds is amiss, and so is one whose control finds something', async () => {
  const [row] = await sabotageTable({ rules: ['R4'], seeds: 0 })
  expect(amissIn(row!)).toBe('R4 switched off is found by no seed of the simulation')
  const found = { invariant: 'one_worker', message: '', seed: 1, steps: 1 }
  const control = { ...row!.control, found: 'one_worker' }
  expect(amissIn({ ...row!, simulation: found })).toBeNull()
  expect(amissIn({ ...row!, simulation: found, control })).toMatch(/proves nothing/)
  expect(amissIn({ ...row!, simulation: found, exploration: null })).toMatch(/not found by exploration/)
})

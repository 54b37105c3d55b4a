// The README says what the code does: what is made from the code is as the code is now, and what it names
// is there. `UPDATE_README=1 npx vitest run test/readme` writes the generated parts anew.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { backup, snapshot, volume } from '../../machines/index.ts'
import { EXIT } from '../../runtime/command/exit.ts'
import { root, sourcesOf } from '../architecture/source.ts'
import { comparisons } from './block_storage.ts'
import { fieldsOf, sections, withSections } from './sections.ts'

const path = join(root, 'README.md')
if (process.env.UPDATE_README === '1')
  writeFileSync(path, withSections(readFileSync(path, 'utf8'), await sections()))
const readme = readFileSync(path, 'utf8')
const scripts = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts as object
const made = await sections()

test.each(Object.keys(made))('the part %s is as the code is now', (name) => {
  expect(readme, 'refresh it with: UPDATE_README=1 npx vitest run test/readme').toBe(
    withSections(readme, { [name]: made[name]! }),
  )
})

test("every operation of block storage has its place beside Cinder's, and no other is named", () => {
  const named = new Set(comparisons.flatMap(([, ours]) => ours))
  const there = [volume, snapshot, backup].flatMap(({ kind, table }) =>
    Object.keys(table.operations).map((name) => `${kind}.${name}`),
  )
  expect([...named].sort()).toEqual(there.sort())
})

describe('what the README names', () => {
  test('every field of a table is explained', () => {
    const fields = ['TableShape', 'Versioned', 'OperationShape', 'HeldShape'].flatMap(fieldsOf)
    expect(fields.length).toBeGreaterThan(15)
    expect(fields.filter((field) => !readme.includes(`| \`${field}\``))).toEqual([])
  })

  test('every folder of tests is told', () => {
    const section = readme.slice(readme.indexOf('\n## Tests'), readme.indexOf('\n## Decisions'))
    const folders = readdirSync(join(root, 'test'), { withFileTypes: true }).filter((one) =>
      one.isDirectory(),
    )
    expect(folders.map(({ name }) => name).filter((name) => !section.includes(`\`test/${name}\``))).toEqual(
      [],
    )
  })

  test('every exit code is listed', () => {
    const section = readme.slice(readme.indexOf('### Exit codes'))
    expect(Object.values(EXIT).filter((code) => !section.includes(`| ${code} |`))).toEqual([])
  })

  test('every code that a row can carry is explained', () => {
    const codes = ['runtime/work.ts', 'machines/resource.ts'].flatMap((file) => {
      const text = readFileSync(join(root, file), 'utf8')
      return [
        ...[...text.matchAll(/(?:code: |Aborted\(|DriverError\()'([a-z_]+)'/g)].map(([, code]) => code!),
        ...[...text.matchAll(/'(driver_failed|attempts_used_up|interrupted)'/g)].map(([, code]) => code!),
      ]
    })
    expect(codes.length).toBeGreaterThan(5)
    expect(codes.filter((code) => !readme.includes(`| \`${code}\` |`))).toEqual([])
  })

  test('every rule that the code cites is told', () => {
    const cited = sourcesOf('machines', 'store', 'runtime', 'test').flatMap(
      ({ text }) => text.match(/\bR\d{1,2}\b/g) ?? [],
    )
    expect([...new Set(cited)].filter((rule) => !readme.includes(`| ${rule} |`))).toEqual([])
  })

  test('every npm script and every file is there', () => {
    const named = [...readme.matchAll(/npm run ([a-z-]+)/g)].map(([, script]) => script!)
    expect(named.filter((script) => !(script in scripts))).toEqual([])
    const paths = /`((?:machines|runtime|store)\/[\w/]+\.ts|test\/[\w/.]+)`/g
    const files = [...readme.matchAll(paths)].map(([, file]) => file!)
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([])
  })

  test('every link inside it has a heading', () => {
    const heads = [...readme.matchAll(/^#+ (.+)$/gm)].map(([, head]) =>
      head!
        .toLowerCase()
        .replace(/[^\w\s-]/g, '')
        .replaceAll(' ', '-'),
    )
    const links = [...readme.matchAll(/\]\(#([^)]+)\)/g)].map(([, link]) => link!)
    expect(links.filter((link) => !heads.includes(link))).toEqual([])
  })
})

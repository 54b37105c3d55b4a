import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ends } from '../kit/built.ts'
import { tempFolder } from './serve_rig.ts'

const folder = tempFolder()
afterAll(() => folder.remove())

test('the demo tells its story, every check holds, and no file stays', async () => {
  const env = { TMPDIR: folder.path }
  const { code, stdout } = await ends(['demo'], { env })
  expect(stdout).toMatch(/All \d+ checks held, in \d+(\.\d+)? seconds\.\n$/)
  expect(stdout).not.toContain('NO ')
  expect(code).toBe(0)
  for (const words of [
    'is killed',
    'declares h1 down',
    'requeue',
    'error_extending',
    'Every byte is compared',
  ])
    expect(stdout).toContain(words)
  expect(readdirSync(folder.path)).toEqual([])
})

test('with --json the demo prints its result as one value, with --data it keeps the files', async () => {
  const data = join(folder.path, 'kept')
  const { code, stdout, stderr } = await ends(['demo', '--json', '--data', data])
  expect(stderr).toBe('')
  const result = JSON.parse(stdout)
  expect(result.checks.filter(({ held }: { held: boolean }) => !held)).toEqual([])
  expect({ code, ok: result.ok }).toEqual({ code: 0, ok: true })
  expect(result.seconds).toBeLessThan(20)
  expect(readdirSync(data).sort()).toEqual(['images', 'store'])
})

test('the demo does not touch a folder that has something in it', async () => {
  const data = join(folder.path, 'full')
  mkdirSync(data)
  writeFileSync(join(data, 'mine'), '')
  const { code, stderr } = await ends(['demo', '--data', data])
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('is not empty') })
  expect(readdirSync(data)).toEqual(['mine'])
})

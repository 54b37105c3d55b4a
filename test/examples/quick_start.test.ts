import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'

test('the quick start of the README makes a bucket on real files and ends by itself', async () => {
  const before = process.cwd()
  const folder = await mkdtemp(join(tmpdir(), 'rekindle-quick-start-'))
  const said = vi.spyOn(console, 'log').mockImplementation(() => {})
  onTestFinished(async () => {
    said.mockRestore()
    process.chdir(before)
    await rm(folder, { recursive: true, force: true })
  })
  process.chdir(folder)
  await import('./quick_start.ts')
  expect(said.mock.calls).toEqual([['available']])
  expect(await readdir('buckets')).toHaveLength(1)
  expect(await readdir('data')).toContain('owner.pid')
})

// One living process owns a folder. A real second process holds it here, in plain JavaScript: it takes the
// address that the store would take, which is all that ownership is.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { jsonStore } from '../../store/index.ts'
import { addressOf } from '../../store/json/lock.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rekindle-lock-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function otherProcess() {
  const { dev, ino } = statSync(folder, { bigint: true })
  const script = `
    const [address, file] = process.argv.slice(1).map((text) => JSON.parse(text))
    require('node:net').createServer().listen(address, () => {
      require('node:fs').writeFileSync(file, String(process.pid))
      process.stdout.write('owned')
    })`
  const child = spawn(process.execPath, [
    '-e',
    script,
    JSON.stringify(addressOf(dev, ino, process.platform)),
    JSON.stringify(join(folder, 'owner.pid')),
  ])
  await once(child.stdout, 'data')
  return child
}

test('a folder that another process owns is refused with its pid, and free at once after kill -9', async () => {
  const child = await otherProcess()
  await expect(jsonStore(folder).open()).rejects.toMatchObject({
    code: 'store_locked',
    message: expect.stringContaining(`process ${child.pid}`),
  })
  child.kill('SIGKILL')
  await once(child, 'exit')
  const store = await jsonStore(folder).open()
  await store.close()
})

test('the same process is refused as well, until the first store is closed; another path to the folder is no way in', async () => {
  const store = await jsonStore(folder).open()
  for (const path of [folder, join(folder, '.'), join(folder, '..', folder.split('/').at(-1)!)])
    await expect(jsonStore(path).open()).rejects.toMatchObject({
      code: 'store_locked',
      message: expect.stringContaining('this process'),
    })
  await store.close()
  await (await jsonStore(folder).open()).close()
})

test('a pid that was left behind locks nothing', async () => {
  const store = await jsonStore(folder).open()
  await store.close()
  expect(statSync(join(folder, 'owner.pid')).isFile()).toBe(true)
  await (await jsonStore(folder).open()).close()
})

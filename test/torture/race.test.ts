// The short race: `npm run race` for a few seconds. The long one is the script itself.

import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { builtCommand } from '../kit/built.ts'

test('clients of two processes that race for the same volumes find no impossible state, and quotas are exact', async () => {
  const race = join(dirname(await builtCommand()), '../../test/torture/race.js')
  const child = spawn(process.execPath, [race, '--seconds', '3', '--volumes', '20', '--clients', '8'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const code = await new Promise((resolve) => child.on('exit', resolve))
  expect(code, output).toBe(0)
  expect(output).toMatch(/[1-9]\d* refused \([1-9]\d* by a quota\)/)
})

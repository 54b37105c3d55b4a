// The short torture: `npm run torture` with a few kills. The long one is the script itself.

import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { builtCommand } from '../kit/built.ts'

test('what the real serve acknowledged survives kill -9 at random moments and comes to rest', async () => {
  const torture = join(dirname(await builtCommand()), '../../test/torture/main.js')
  const child = spawn(process.execPath, [torture, '--kills', '4', '--seed', '1'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const code = await new Promise((resolve) => child.on('exit', resolve))
  expect(code, output).toBe(0)
  expect(output).toContain('every check held')
  expect(output).toMatch(/[1-9]\d* calls of [1-9]\d* resources linearizable/)
})

// Quotas through the door: limits are set and read, and what goes past one is refused with what is taken.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { doorRig, type Rig } from './door_rig.ts'

let rig: Rig
beforeEach(async () => {
  rig = await doorRig()
})
afterEach(() => rig.stop())

const make = (size: number) =>
  rig.ask('POST', '/resources/volume?wait=10', { name: 'data', size, project: 'lab' })

test('what goes past a limit is refused with the limit and what is taken; the rest is counted', async () => {
  const set = await rig.ask('POST', '/quotas/lab', { volumes: 3, gigabytes: 5 })
  expect(set).toMatchObject({ status: 200, body: { id: 'lab', limits: { volumes: 3, gigabytes: 5 } } })
  expect((await make(3)).body).toMatchObject({ outcome: 'done' })
  expect(await make(2.5)).toMatchObject({
    status: 409,
    body: {
      error: {
        code: 'refused',
        expected: ['at most 5 gigabytes'],
        found: '3 gigabytes, and 2.5 asked for',
      },
    },
  })
  expect((await make(2)).body).toMatchObject({ outcome: 'done' })
  const { body } = await rig.ask('GET', '/quotas')
  expect(body.quotas).toMatchObject([{ id: 'lab', used: { volumes: 2, gigabytes: 5 } }])
})

test('a limit that is taken away limits nothing more', async () => {
  await rig.ask('POST', '/quotas/lab', { volumes: 0, gigabytes: 100 })
  expect((await make(1)).status).toBe(409)
  expect((await rig.ask('POST', '/quotas/lab', { volumes: null })).body.limits).toEqual({ gigabytes: 100 })
  expect((await make(1)).status).toBe(200)
})

test.each([
  [{ volums: 3 }, 'volums', "did you mean 'volumes'?"],
  [{ volumes: -1 }, 'volumes', 'a number from 0'],
  [{ volumes: 'many' }, 'volumes', 'a number from 0'],
])('a limit that can not be, %j, is refused and changes nothing', async (limits, path, hint) => {
  const { status, body } = await rig.ask('POST', '/quotas/lab', limits)
  expect({ status, path: body.error.issues[0].path }).toEqual({ status: 400, path })
  expect(body.error.message).toContain(hint)
  expect((await rig.ask('GET', '/quotas')).body.quotas).toEqual([])
})

test('a project that can not be is refused', async () => {
  expect(await rig.ask('POST', '/quotas/a%20b', { volumes: 1 })).toMatchObject({ status: 400 })
})

// Who may ask: a door that others can reach has a token and answers to its own names alone; what is refused is
// refused before a body is read and says nothing of what is behind it.

import { expect, test } from 'vitest'
import { checkToken, createDoor } from '../../runtime/http/index.ts'
import { doorRig } from './door_rig.ts'

const token = 'correct-horse-battery'

test('a door that others can reach is not made without a token, nor with one that is easily guessed', async () => {
  const rig = await doorRig()
  expect(() => createDoor(rig.runtime, { loopback: false })).toThrow(/a token is needed/)
  for (const bad of ['', 'short', 'with a blank in the middle', 'ünïcödé-and-long-enough'])
    expect(() => createDoor(rig.runtime, { token: bad })).toThrow(/at least 16/)
  expect(() => checkToken('0.0.0.0', undefined)).toThrow(/0\.0\.0\.0 can be reached by others/)
  expect(() => checkToken('127.0.0.1', undefined)).not.toThrow()
  expect(() => checkToken('::', token)).not.toThrow()
  await rig.stop()
})

test.each([true, false])(
  'with a token every request needs it, /healthz aside (bound to loopback: %s)',
  async (loopback) => {
    const rig = await doorRig({ loopback, token })
    const with_ = (authorization?: string) =>
      rig.ask('GET', '/nodes', undefined, authorization === undefined ? {} : { authorization })
    for (const given of [
      undefined,
      '',
      token,
      `Basic ${token}`,
      `Bearer ${token}x`,
      `Bearer ${token.slice(1)}`,
      'Bearer',
    ]) {
      const { status, headers, body } = await with_(given)
      expect({ status, code: body.error.code }, String(given)).toEqual({ status: 401, code: 'unauthorized' })
      expect(headers.get('www-authenticate')).toContain('Bearer')
      expect(body.error.message).not.toContain(token)
    }
    for (const given of [`Bearer ${token}`, `bearer  ${token} `])
      expect((await with_(given)).status).toBe(200)
    expect(await rig.ask('GET', '/healthz')).toMatchObject({ status: 200, body: { alive: true } })
    for (const path of [
      '/readyz',
      '/metrics',
      '/openapi.json',
      '/',
      '/events',
      '/nothing/here',
      '/resources/volme',
    ])
      expect((await rig.ask('GET', path)).status, path).toBe(401)
    // Whoever may not ask is not told which methods there are.
    expect((await rig.ask('DELETE', '/nodes')).status).toBe(401)
    await rig.stop()
  },
)

test('without the token no body is read and nothing is changed', async () => {
  const rig = await doorRig({ token })
  const before = rig.runtime.offset()
  let isRead = false
  const body = new ReadableStream(
    {
      pull(controller) {
        isRead = true
        controller.enqueue(new TextEncoder().encode('{"name":"a","size":1}'))
        controller.close()
      },
    },
    { highWaterMark: 0 },
  )
  const answer = await rig.ask('POST', '/resources/volume', body, { 'content-type': 'application/json' })
  expect(answer.status).toBe(401)
  expect(isRead).toBe(false)
  expect(rig.changedSince(before)).toEqual([])
  await rig.stop()
})

test('behind a bind that others can reach it answers to addresses and its own names, and to no page of elsewhere', async () => {
  const rig = await doorRig({ loopback: false, token, names: ['rekindle.internal'] })
  const from = async (url: string, headers = {}) => {
    const request = new Request(url, { headers: { authorization: `Bearer ${token}`, ...headers } })
    return (await rig.door.fetch(request)).status
  }
  for (const host of [
    '10.0.0.5',
    '192.168.1.9:7878',
    '[fd00::1]',
    'localhost',
    'rekindle.internal',
    'REKINDLE.internal:7878',
  ])
    expect(await from(`http://${host}/nodes`), host).toBe(200)
  for (const host of ['evil.example', 'rekindle.internal.evil.example', '10.0.0.5.evil.example', 'internal'])
    expect(await from(`http://${host}/nodes`), host).toBe(403)
  for (const origin of ['https://evil.example', 'null', 'http://rekindle.internal:81'])
    expect(await from('http://rekindle.internal/nodes', { origin }), origin).toBe(403)
  expect(await from('http://rekindle.internal/nodes', { origin: 'http://rekindle.internal' })).toBe(200)
  // Neither is health told to a name that was made to point here.
  expect(await from('http://evil.example/healthz')).toBe(403)
  await rig.stop()
})

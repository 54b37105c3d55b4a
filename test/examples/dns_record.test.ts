import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createRuntime, type Driver, type DriverContext, memoryStore } from '../../runtime/index.ts'
import { accepted } from '../kit/rig.ts'
import { dnsRecord, zoneDriver } from './dns_record.ts'

/** The protocol's times, a twentieth of the defaults. */
const settings = {
  ...{ heartbeat_ms: 100, fence_after_ms: 250, down_after_ms: 400, sweep_ms: 50 },
  ...{ abort_grace_ms: 250, progress_ms: 100 },
}

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rekindle-zone-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

function started(driver: Driver) {
  const nodes = ['ns1', 'ns2'].map((host) => ({ cluster: 'dns', backend: 'zone', host, driver }))
  return createRuntime({ store: memoryStore(), resources: [dnsRecord], nodes, settings })
}

const lineOf = (id: string) => readFile(join(folder, `${id}.zone`), 'utf8')

test('a record of one type of our own is made, changed and removed', async () => {
  const runtime = await started(zoneDriver(folder))
  const made = accepted(await runtime.dns_record.create({ name: 'www.example.org', value: '192.0.2.1' }))
  expect((await made.settled()).row).toMatchObject({ status: 'active', data: { ttl: 300 } })
  expect(await lineOf(made.id)).toBe('www.example.org. 300 IN A 192.0.2.1\n')

  const record = runtime.dns_record(made.id)
  const changed = await accepted(await record.update({ value: '192.0.2.7' })).settled()
  expect(changed).toMatchObject({ ok: true, row: { status: 'active', data: { value: '192.0.2.7' } } })
  expect(await lineOf(made.id)).toBe('www.example.org. 300 IN A 192.0.2.7\n')

  await expect(record.update({ value: 'elsewhere' })).rejects.toMatchObject({
    code: 'bad_input',
    issues: [{ path: 'value' }],
  })
  expect((await accepted(await record.delete()).settled()).row.status).toBe('gone')
  expect(await readdir(folder)).toEqual([])
  await runtime.stop()
})

test('a node killed in the middle of an update is put right: the other node finishes it, once', async () => {
  const driver = zoneDriver(folder)
  let begin: (context: DriverContext) => void = () => {}
  const begun = new Promise<DriverContext>((resolve) => {
    begin = resolve
  })
  const writes: string[] = []
  const { create, update } = driver.operations.dns_record!
  const halting: Driver = {
    operations: {
      dns_record: {
        create: create!,
        update: async (context) => {
          writes.push(context.row.worker!)
          if (context.attempt > 1) return update!(context)
          begin(context)
          // The first node never gets any further.
          return new Promise((_, reject) =>
            context.signal.addEventListener('abort', () => reject(context.signal.reason)),
          )
        },
      },
    },
  }
  const runtime = await started(halting)
  const made = accepted(await runtime.dns_record.create({ name: 'mail.example.org', value: '192.0.2.1' }))
  await made.settled()
  const asked = accepted(await runtime.dns_record(made.id).update({ value: '192.0.2.2', ttl: 60 }))

  const { row } = await begun
  runtime.node(row.host!).kill()

  const end = await asked.settled()
  const other = row.host === 'ns1' ? 'ns2' : 'ns1'
  expect(end).toMatchObject({ ok: true, row: { status: 'active', host: other, worker: null } })
  expect(writes).toEqual([row.worker, `${other}@zone`])
  expect(await lineOf(made.id)).toBe('mail.example.org. 60 IN A 192.0.2.2\n')
  await runtime.stop()
})

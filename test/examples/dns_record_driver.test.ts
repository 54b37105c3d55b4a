import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'vitest'
import { driverContract } from '../kit/index.ts'
import { zoneDriver } from './dns_record.ts'

const ref = { kind: 'dns_record', id: 'r1' }
const story = [
  { ref, operation: 'create', makes: { name: 'www.example.org', value: '192.0.2.1', ttl: 300 } },
  { ref, operation: 'update', input: { ttl: 60 } },
  { ref, operation: 'delete' },
]

async function open() {
  const folder = await mkdtemp(join(tmpdir(), 'rekindle-zone-'))
  const close = () => rm(folder, { recursive: true })
  return { driver: zoneDriver(folder), look: () => readdir(folder), close }
}

for (const { title, run } of driverContract({ story, open })) test(title, run)

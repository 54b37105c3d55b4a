import { test } from 'vitest'
import { generatedTests } from '../kit/index.ts'
import { dnsRecord } from './dns_record.ts'

const inputs = { dns_record: { create: [{ name: 'www.example.org', value: '192.0.2.1' }] } }

for (const { title, run } of generatedTests(dnsRecord, { inputs })) test(title, run)

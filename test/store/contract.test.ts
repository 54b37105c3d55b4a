// Every store keeps the one contract. A folder a store, removed at the end.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { jsonStore, memoryStore } from '../../store/index.ts'
import { storeContract } from '../kit/store_contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'rekindle-contract-'))
afterAll(() => rmSync(folder, { recursive: true }))

let folders = 0
storeContract('memory', () => memoryStore())
storeContract('shared memory', () => memoryStore({ exclusive: false }))
storeContract('JSON', () => jsonStore(join(folder, String(folders++))))

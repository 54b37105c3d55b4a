// Every store keeps the one contract. A folder a store, removed at the end.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, test } from 'vitest'
import { jsonStore, memoryStore } from '../../store/index.ts'
import type { StoreSource } from '../../store/store.ts'
import { storeContract } from '../kit/store_contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'rekindle-contract-'))
afterAll(() => rmSync(folder, { recursive: true }))

let folders = 0
const stores: Record<string, () => StoreSource> = {
  memory: () => memoryStore(),
  'shared memory': () => memoryStore({ exclusive: false }),
  JSON: () => jsonStore(join(folder, String(folders++))),
}
for (const [name, makeSource] of Object.entries(stores))
  describe(`the contract of a store, kept by the ${name} store:`, () => {
    for (const { title, run } of storeContract(makeSource)) test(title, run)
  })

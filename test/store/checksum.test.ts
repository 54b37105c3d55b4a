// The checksum that folders hold is the same on every Node.

import { expect, test } from 'vitest'
import { checksumOf, crc32InScript } from '../../store/json/checksum.ts'

test("the checksum is CRC-32, with the system's help and without", () => {
  const bytes = Buffer.from('123456789')
  expect(checksumOf(bytes)).toBe('cbf43926')
  expect(crc32InScript(bytes)).toBe(0xcbf43926)
  const all = Uint8Array.from({ length: 1_000 }, (_, i) => (i * 31) % 256)
  expect(crc32InScript(all).toString(16).padStart(8, '0')).toBe(checksumOf(all))
})

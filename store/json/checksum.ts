// CRC-32 as eight hex digits: finds every burst of flipped bits up to 32 long and all but one in four
// billion other damages, at more than a gigabyte a second. It guards against disks, not against people.

import * as zlib from 'node:zlib'

/** Node has it from 20.15 on; before that the same sum is computed here, slower. */
const crc32: (bytes: Uint8Array) => number = zlib.crc32 ?? crc32InScript

export const checksumOf = (bytes: Uint8Array): string => crc32(bytes).toString(16).padStart(8, '0')

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++)
    remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1
  return remainder
})

export function crc32InScript(bytes: Uint8Array): number {
  let remainder = 0xffffffff
  for (const byte of bytes) remainder = (remainder >>> 8) ^ TABLE[(remainder ^ byte) & 0xff]!
  return (remainder ^ 0xffffffff) >>> 0
}

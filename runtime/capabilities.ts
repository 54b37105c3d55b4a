// What a driver says of its backend, made fit for a row: known fields, finite amounts, plain specs. A driver is
// a user's code and may answer with anything; what is no answer throws, and the last report stands.

import type { Capabilities, Spec } from '../machines/row.ts'

const AMOUNTS = ['provisioned_gib', 'reserved_percent', 'max_over_subscription'] as const
const SIGNS = ['thin', 'multiattach'] as const
const MOST_SPECS = 100
const MOST_TEXT = 255

/** Throws with the field at fault. An amount that is infinite or absent is one that the driver does not say. */
export function checkedCapabilities(said: Capabilities): Capabilities {
  if (typeof said !== 'object' || said === null)
    throw new Error(`capabilities are ${String(said)}, not an object`)
  return {
    total_gib: amountOf(said, 'total_gib'),
    free_gib: amountOf(said, 'free_gib'),
    ...Object.fromEntries(
      AMOUNTS.flatMap((name) => {
        const amount = amountOf(said, name)
        return amount === null ? [] : [[name, amount]]
      }),
    ),
    ...Object.fromEntries(
      SIGNS.flatMap((name) => {
        const sign = said[name]
        if (sign === undefined || sign === null) return []
        if (typeof sign !== 'boolean')
          throw new Error(`capabilities: ${name} is ${String(sign)}, neither true nor false`)
        return [[name, sign]]
      }),
    ),
    ...(said.specs == null ? {} : { specs: specsOf(said.specs) }),
  }
}

function amountOf(
  said: Capabilities,
  name: 'total_gib' | 'free_gib' | (typeof AMOUNTS)[number],
): number | null {
  const amount = said[name]
  if (amount === undefined || amount === null || amount === Number.POSITIVE_INFINITY) return null
  if (typeof amount !== 'number' || !(amount >= 0))
    throw new Error(`capabilities: ${name} is ${String(amount)}; a number of at least 0 is expected`)
  return amount
}

function specsOf(specs: unknown): { readonly [name: string]: Spec } {
  if (typeof specs !== 'object' || Array.isArray(specs)) throw new Error('capabilities: specs are no object')
  const entries = Object.entries(specs as object)
  if (entries.length > MOST_SPECS)
    throw new Error(`capabilities: ${entries.length} specs; at most ${MOST_SPECS} are taken`)
  for (const [name, value] of entries) {
    const isPlain = typeof value === 'boolean' || Number.isFinite(value) || typeof value === 'string'
    if (!isPlain || name.length > MOST_TEXT || (typeof value === 'string' && value.length > MOST_TEXT))
      throw new Error(
        `capabilities: the spec '${name.slice(0, MOST_TEXT)}' must be a string of at most ${MOST_TEXT} characters, a number or a boolean`,
      )
  }
  return Object.fromEntries(entries)
}

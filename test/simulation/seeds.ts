// The seeds that the suite runs, halved over two files so that two workers share them. SEEDS, FROM and STEPS widen
// the search.

import { expect } from 'vitest'
import { simulate } from '../kit/simulation/simulation.ts'

export const seeds = Number(process.env.SEEDS ?? 300)
export const steps = Number(process.env.STEPS ?? 2_000)
export const from = Number(process.env.FROM ?? 1)

/** The `sometimes` properties of the protocol. */
export const sometimes = [
  ...(['claim_lost', 'cleanup_lost', 'crash_before_claim', 'crash_after_claim'] as const),
  ...(['crash_after_effect_before_finish', 'cleaner_crashed', 'zombie_refused', 'self_fenced'] as const),
  ...(['doorbell_dropped', 'requeued_elsewhere'] as const),
]

/** Runs a part of the seeds; fails with the command that replays the first seed that violates something. */
export async function holds(first: number, count: number): Promise<ReadonlySet<string>> {
  const reached = new Set<string>()
  for (let seed = first; seed < first + count; seed++) {
    const { violations, ...result } = await simulate({ seed, steps })
    for (const property of result.reached) reached.add(property)
    if (violations.length === 0) continue
    const said = violations.map(({ invariant, message }) => `${invariant}: ${message}`)
    expect.fail([`rekindle simulate --seed ${seed} --steps ${steps}`, ...said].join('\n'))
  }
  return reached
}

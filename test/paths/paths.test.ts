// Paths of built-in types: the two searches agree, and the live runtime takes every transition on the memory
// and on the JSON store. What one cluster and one driver can't show is left out by name and has tests of its
// own.

import { describe, test } from 'vitest'
import { backup, snapshot, volume } from '../../machines/index.ts'
import { generatedTests } from '../kit/generated_tests.ts'
import { builtInInputs } from '../kit/inputs.ts'

const types = [volume, snapshot, backup]

const left_out = [
  // Driven at two clusters.
  ...['volume.migrate', 'volume.release_source'],
  // Holds a snapshot of the very volume.
  'volume.revert',
]

// Exploration and simulation of the built-in types have tests of their own.
const cases = [
  { type: snapshot, leaves: /every crash of a node|simulated runs/ },
  { type: backup, leaves: /every crash of a node|simulated runs|live runtime/ },
]

describe.each(cases)('a $type.kind', ({ type, leaves }) => {
  const tests = generatedTests(type, { types, inputs: builtInInputs, left_out })
  for (const { title, run } of tests) if (!leaves.test(title)) test(title, run, 300_000)
})

// The picture of a chart is the chart: nothing is missing, nothing is added, the same each time. Mermaid itself
// is not at hand here, so every line must be of one of the few forms that it is known to draw.

import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  backup,
  defineResource,
  nodeChart,
  schedulerChart,
  snapshot,
  supervisorChart,
  toMermaid,
  volume,
} from '../../machines/index.ts'

const everyChart = {
  volume,
  snapshot,
  backup,
  node: nodeChart,
  scheduler: schedulerChart,
  supervisor: supervisorChart,
}
const details = ['statuses', 'all'] as const
const cases = Object.entries(everyChart).flatMap(([name, of]) =>
  details.map((detail) => [name, detail, of] as const),
)

const BOX =
  /^ +s_[\w-]+(?:\["[\w-]+"\]|\(\["[\w-]+"\]\)|\(\(\("[\w-]+"\)\)\)|\[\/"[\w-]+"\/\]|\{\{"[\w ]+"\}\})$/
const ARROW = /^ {2}(?:start\(\( \)\)|s_[\w-]+) (?:-->|-\.->)(?:\|"[\w .,()[\]<>/-]+"\|)? s_[\w-]+$/
const GROUP = /^ +(?:subgraph s_[\w-]+\["[\w-]+"\]|end)$/

describe.each(cases)('the picture of %s, %s', (_, detail, of) => {
  const text = toMermaid(of, { detail })
  const lines = text.trimEnd().split('\n')

  test('is the same each time', () => {
    expect(toMermaid(of, { detail })).toBe(text)
  })

  test('has lines that Mermaid draws, fewer than GitHub refuses', () => {
    expect(lines[0]).toBe('flowchart TD')
    const odd = lines.slice(1).filter((line) => ![BOX, ARROW, GROUP].some((form) => form.test(line)))
    expect(odd).toEqual([])
    expect(lines.filter((line) => ARROW.test(line)).length).toBeLessThan(500)
  })

  test('draws one arrow of a sort between two boxes', () => {
    const arrows = lines.filter((line) => ARROW.test(line)).map((line) => line.replace(/\|.*\|/, ''))
    expect(new Set(arrows).size).toBe(arrows.length)
  })
})

describe('the picture of a volume', () => {
  test('has a box for every status', () => {
    const text = toMermaid(volume)
    expect(volume.statuses.all.filter((status) => !text.includes(`"${status}"`))).toEqual([])
  })

  test('names the guards of what callers ask for', () => {
    expect(toMermaid(volume)).toContain('s_available -->|"extend [isLarger]"| s_extending')
  })

  test('tells cleanups from ends by a dotted arrow', () => {
    const text = toMermaid(volume)
    expect(text).toContain('s_extending -.->|"cleanup"| s_error_extending')
    expect(text).toContain('s_deleting -.->|"cleanup, again"| s_deleting')
  })

  test('shows with detail `all` who has it inside a transitional status', () => {
    const text = toMermaid(volume, { detail: 'all' })
    expect(text).toContain(
      's_extending__queued -->|"claim [isServiceUp, isNodeEnabled, isOfTopic] / drive"| s_extending__working',
    )
  })
})

test("statuses named like Mermaid's own words are drawn as any other", () => {
  const odd = defineResource({
    kind: 'odd',
    data: z.strictObject({}),
    statuses: ['end', 'class'],
    operations: {
      create: { from: 'new', via: 'subgraph', to: 'end', failed: 'class', cleanup: 'class' },
      delete: { from: ['end', 'class'], via: 'graph', to: 'gone', failed: 'class', cleanup: 'requeue' },
    },
  })
  expect(toMermaid(odd)).toContain('s_subgraph -->|"create.done"| s_end')
})

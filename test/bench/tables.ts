// The figures of a run as tables of Markdown that read well in a terminal. Pure.

import { TITLES } from './contestants.ts'
import { profileText } from './profile.ts'
import type { Results } from './run.ts'
import { figure, spreadText, tableText } from './spread.ts'
import type { Figures, Level } from './throughput.ts'

const HEADS = ['operations/s', 'rekindle over it', 'CPU ms', 'p50 ms', 'p99 ms', 'stall ms', 'RSS MB']

const cellsOf = (f: Figures): string[] => [
  spreadText(f.per_s),
  f.name === 'rekindle' ? '' : spreadText(f.rekindle_over),
  spreadText(f.cpu_ms),
  spreadText(f.p50_ms),
  spreadText(f.p99_ms),
  spreadText(f.longest_stall_ms),
  figure(f.peak_rss_mb.most),
]

function levelsText(head: string, levels: readonly Level[], nameOf: (level: Level) => number): string {
  const rows = levels.flatMap((level) =>
    level.contestants.map((f) => [figure(nameOf(level)), TITLES[f.name], ...cellsOf(f)]),
  )
  return tableText([head, '', ...HEADS], rows)
}

/** Everything that was measured, part by part. */
export function resultsText(found: Results): string {
  const { throughput, bulk, in_flight, nodes, failover, profile } = found
  const byFlight = (level: Level) => level.in_flight
  const parts: (readonly [string, string | undefined])[] = [
    [
      'Each caller waits for the end of its operation',
      throughput && levelsText('in flight', throughput, byFlight),
    ],
    ['A thousand wait, asked for 500 at once', bulk && levelsText('worked on', bulk, byFlight)],
    ['Few and many in flight', in_flight && levelsText('in flight', in_flight, byFlight)],
    [
      'Nodes, 64 in flight',
      nodes && levelsText('nodes', nodes, (level) => (level as Level & { nodes: number }).nodes),
    ],
    [
      'A node dies',
      failover &&
        tableText(
          ['rows', 'policy', 'noticed ms', 'put right ms', 'stall ms'],
          failover.map((f) => [
            figure(f.rows),
            f.policy,
            figure(f.noticed_ms),
            figure(f.put_right_ms),
            figure(f.longest_stall_ms),
          ]),
        ),
    ],
    ['Where the time goes', profile && profileText(profile)],
  ]
  const skipped = (found.skipped ?? []).map(({ name, why }) => `left out: ${name} (${why})`)
  return [
    [found.machine, ...(found.servers ?? [])].join(', '),
    ...skipped,
    ...parts.flatMap(([title, text]) => (text === undefined ? [] : [`\n${title}\n\n${text}`])),
  ].join('\n')
}

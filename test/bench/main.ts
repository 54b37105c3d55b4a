// npm run bench: the numbers, each as a ratio of the same run. `--help` tells what there is to measure.
// Nothing here asserts a speed; temporary folders are removed whatever happens, on Ctrl-C as well.

import { rmSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { profile, profileText } from './profile.ts'
import { spreadText, tableText } from './spread.ts'
import { throughput } from './throughput.ts'

const HELP = `npm run bench -- [options]

  --quick        short rounds, fewer of them: about a minute
  --json [FILE]  one JSON value, to the file or instead of the tables
  --profile      only this: where the time of one operation goes, 64 in flight
  --help

  npm run bench -- --quick --json numbers.json
  npm run bench -- --profile
`

interface Options {
  readonly quick: boolean
  readonly profile: boolean
  /** A file, '' for the standard output, null for tables. */
  readonly json: string | null
}

function optionsFrom(given: readonly string[]): Options | null {
  let quick = false
  let profile = false
  let json: string | null = null
  for (let i = 0; i < given.length; i++) {
    const option = given[i]!
    if (option === '--help') return null
    if (option === '--quick') quick = true
    else if (option === '--profile') profile = true
    else if (option === '--json') {
      const next = given[i + 1]
      json = next === undefined || next.startsWith('--') ? '' : next
      if (json !== '') i++
    } else throw new Error(`there is no option '${option}'; npm run bench -- --help lists them`)
  }
  return { quick, profile, json }
}

const say = (line: string) => process.stderr.write(`${line}\n`)

async function main(): Promise<void> {
  const options = optionsFrom(process.argv.slice(2))
  if (options === null) {
    process.stdout.write(HELP)
    return
  }
  const folder = await mkdtemp(join(tmpdir(), 'rekindle-bench-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.on('exit', remove)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`
  const write = async (value: object, text: string) => {
    const json = `${JSON.stringify({ machine, ...value }, null, 2)}\n`
    if (options.json === '') process.stdout.write(json)
    else {
      if (options.json !== null) await writeFile(options.json, json)
      process.stdout.write(`${machine}\n${text}\n`)
    }
  }
  if (options.profile) {
    const duration_ms = options.quick ? 2_000 : 5_000
    const found = await profile(folder, { in_flight: 64, warm_up_ms: duration_ms / 2, duration_ms })
    await write({ profile: found }, profileText(found))
    return
  }
  const shape = options.quick ? { rounds: 2, duration_ms: 700 } : { rounds: 5, duration_ms: 2_000 }
  const figures = await throughput(folder, [1, 16, 64, 256], shape, say)
  const rows = figures.map((f) => [
    String(f.in_flight),
    spreadText(f.floor_per_s),
    spreadText(f.per_s),
    spreadText(f.of_floor),
    spreadText(f.cpu_ms),
    spreadText(f.p50_ms),
    spreadText(f.p99_ms),
    spreadText(f.longest_stall_ms),
    spreadText(f.rss_mb),
  ])
  const heads = [
    'in flight',
    'floor/s',
    'rekindle/s',
    'ratio',
    'CPU ms',
    'p50 ms',
    'p99 ms',
    'stall ms',
    'RSS MB',
  ]
  await write({ throughput: figures }, tableText(heads, rows))
}

try {
  await main()
} catch (error) {
  say(String(error instanceof Error ? error.message : error))
  process.exitCode = 1
}

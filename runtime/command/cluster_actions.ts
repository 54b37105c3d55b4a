// cluster disable|enable|freeze|thaw|remove|rename, cleanup: what an administrator does with a cluster, or with
// what lives that are over left.

import type { Command } from 'commander'
import { realEnvironment } from '../environment.ts'
import type { CleanupReport, ClusterStatus, Renaming } from '../index.ts'
import type { Client } from './client.ts'
import { confirm } from './confirm.ts'
import { usage } from './exit.ts'
import { type ClientOptions, clientCommand, clientFor, withExample } from './options.ts'
import { plain, print, printJson, tableOf } from './output.ts'
import { ProgressLine } from './progress_line.ts'

interface ActionOptions extends ClientOptions {
  readonly reason?: string
  readonly recursive?: true
  readonly dryRun?: true
  readonly yes?: true
}

/** With a reason, and taken back at any time: nothing to ask about. */
const ACTIONS: { readonly [action: string]: { readonly what: string; readonly said: string } } = {
  disable: {
    what: 'place nothing new at a cluster by itself; what is there is worked on',
    said: 'is disabled: nothing new is placed there by itself',
  },
  enable: { what: 'take the disabling back', said: 'is enabled' },
  freeze: {
    what: 'place nothing new at a cluster and refuse deletes there; what runs goes on',
    said: 'is frozen: nothing new is placed there, and deletes are refused',
  },
  thaw: { what: 'take the freezing back', said: 'is thawed' },
}

const LOOK_MS = 500

export function addClusterActions(program: Command): void {
  const cluster = withExample(
    program.command('cluster').description('what an administrator does with a cluster'),
    'rekindle cluster freeze ssd@file --reason "the array fails over"',
    'rekindle cluster rename h1@file ssd@file --dry-run',
  )
  for (const [action, { what, said }] of Object.entries(ACTIONS)) {
    const isReasoned = action === 'disable' || action === 'freeze'
    const example = `rekindle cluster ${action} ssd@file${isReasoned ? ' --reason "new disks"' : ''}`
    const command = clientCommand(cluster, `${action} <cluster@backend>`, what, example)
    if (isReasoned) command.option('--reason <words>', 'why, for who looks later')
    command.action(async (topic: string, options: ActionOptions) => {
      const { reason } = options
      const answer = await clientFor(options).ask<{ cluster: ClusterStatus }>(
        'POST',
        ['clusters', topic, action],
        { ...(reason !== undefined && { body: { reason } }) },
      )
      if (options.json) printJson(answer)
      else print(plain(`${topic} ${said}`))
    })
  }

  clientCommand(
    cluster,
    'remove <cluster@backend>',
    'forget a cluster; refused while it has resources or nodes',
    'rekindle cluster remove old@file --recursive',
  )
    .option('--recursive', 'its nodes, which are down, go first')
    .option('--yes', 'do not ask')
    .action(async (topic: string, options: ActionOptions) => {
      const nodes = options.recursive ? ', and all its nodes,' : ''
      await confirm(`${topic}${nodes} is forgotten. Go on?`, options)
      const answer = await clientFor(options).ask<object>('POST', ['clusters', topic, 'remove'], {
        body: { recursive: options.recursive === true },
      })
      if (options.json) printJson(answer)
      else print(plain(`${topic} is removed`))
    })

  clientCommand(
    cluster,
    'rename <from> <to>',
    'give a cluster another name: every row that has the old one gets the new one; safe to repeat',
    'rekindle cluster rename h1@file ssd@file --dry-run',
  )
    .option('--dry-run', 'only say what would be renamed')
    .option('--yes', 'do not ask')
    .action(rename)
}

interface Renamed {
  readonly renaming: Renaming
}

async function rename(from: string, to: string, options: ActionOptions): Promise<void> {
  const client = clientFor(options)
  const ask = (dry_run: boolean) =>
    client.ask<Renamed>('POST', ['clusters', from, 'rename'], { body: { to, dry_run } })
  const { renaming } = await ask(true)
  if (options.dryRun) {
    if (options.json) return printJson(renaming)
    return print(plain(`${from} would become ${to}: ${wordsFor(renaming)}`))
  }
  await confirm(`${from} becomes ${to}: ${wordsFor(renaming)}. Go on?`, options)
  const answer = await watched(client, `${from} to ${to}`, ask(false), async () => {
    const left = await ask(true)
    return `${sum(left.renaming)} rows to go`
  })
  if (options.json) return printJson(answer.renaming)
  print(plain(`${from} is ${to} now: ${wordsFor(renaming)}. Say ${to} where its nodes are configured.`))
}

const sum = ({ rows }: Renaming) => Object.values(rows).reduce((total, count) => total + count, 0)

function wordsFor({ rows, nodes }: Renaming): string {
  const counts = Object.entries(rows)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} of ${kind}`)
  const hosts = nodes.length === 0 ? 'no nodes' : `nodes ${nodes.join(', ')}`
  return `${counts.length === 0 ? 'no rows' : counts.join(', ')}; ${hosts}`
}

/** Shows what `look` says for as long as `work` takes; what can't be looked at is not shown. */
async function watched<T>(
  client: Client,
  name: string,
  work: Promise<T>,
  look: () => Promise<string>,
): Promise<T> {
  const line = new ProgressLine(name)
  let isOver = false
  const over = work.then(
    () => {},
    () => {},
  )
  void over.then(() => {
    isOver = true
  })
  while (!isOver) {
    await Promise.race([
      over,
      new Promise<void>((resolve) => void client.environment.timer(LOOK_MS, resolve)),
    ])
    if (isOver) break
    const found = await look().catch(() => null)
    if (found !== null && !isOver) line.say(found)
  }
  line.end()
  return work
}

interface CleanupOptions extends ClientOptions {
  readonly cluster?: string
  readonly backend?: string
  readonly host?: string
  readonly resource?: string
  readonly until?: number
}

export function addCleanupCommand(program: Command): void {
  const command = clientCommand(
    program,
    'cleanup',
    'put right now what nodes that are down left, without waiting for the next sweep',
    'rekindle cleanup --host h1',
  )
    .option('--cluster <cluster@backend>', 'of this cluster')
    .option('--backend <backend>', 'of this backend')
    .option('--host <host>', 'of this node')
    .option('--resource <kind[/id]>', 'of this kind, or this resource alone')
    .option('--until <time>', 'only what was taken up to then: 2027-01-31T08:00, or 10m ago', timeGiven)
  withExample(command, 'rekindle cleanup --resource volume/ID', "rekindle cleanup --until '10m ago'")
  command.action(async ({ url, json, tokenFile, resource, ...filter }: CleanupOptions) => {
    const options = { url, ...(json && { json }), ...(tokenFile !== undefined && { tokenFile }) }
    const client = clientFor(options)
    const [kind, id, ...more] = resource?.split('/') ?? []
    if (more.length > 0 || kind === '' || id === '')
      throw usage(`--resource ${resource}: say a kind, or kind/id, for example volume/ID`)
    const body = { ...filter, ...(kind !== undefined && { kind }), ...(id !== undefined && { id }) }
    const line = new ProgressLine('cleanup')
    line.flicker('under way')
    const report = await client.ask<CleanupReport>('POST', ['cleanup'], { body }).finally(() => line.end())
    if (json) return printJson(report)
    const { cleaning, unavailable, retried } = report
    for (const { kind: of, id: one } of retried) print(plain(`tried again: ${of} ${one}`))
    if (cleaning.length + unavailable.length === 0)
      return print(
        retried.length === 0 ? 'no node that is down left anything' : 'no node that is down left more',
      )
    print(
      tableOf(
        ['NODE', 'PUT RIGHT', ''],
        [
          ...cleaning.map(({ node, rows }) => [node.address, String(rows), '']),
          ...unavailable.map(({ node, why }) => [node.address, '-', why]),
        ],
      ),
    )
  })
}

const AGO = /^(\d+) ?(s|m|h|d)(?: ago)?$/
const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A time in words or as ISO 8601, as milliseconds since the epoch. */
export function timeGiven(given: string): number {
  const [, count, unit] = AGO.exec(given.trim()) ?? []
  const at =
    count === undefined ? Date.parse(given) : realEnvironment().now() - Number(count) * UNIT_MS[unit!]!
  if (!Number.isFinite(at))
    throw usage(`--until ${given}: say a time, for example 2027-01-31T08:00 or '10m ago'`)
  return at
}

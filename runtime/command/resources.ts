// create, op, cancel, list, show: what is done with resources.

import type { Command } from 'commander'
import type { Listed, ResourceRow } from '../index.ts'
import type { Client, Settlement } from './client.ts'
import { type ClientOptions, clientCommand, clientFor, type Fields, setOption, whole } from './options.ts'
import { dayAndTime, fieldsOf, plain, print, printJson, tableOf, tell, whoHas } from './output.ts'
import { submit, waitFor } from './wait.ts'

interface SubmitOptions extends ClientOptions {
  readonly set?: Fields
  readonly wait?: true
  readonly requestId?: string
  readonly cluster?: string
}

interface ListOptions extends ClientOptions {
  readonly status?: string
  readonly worker?: string
  readonly cluster?: string
  readonly limit?: number
  readonly after?: string
}

const WAIT = ['--wait', 'wait for the end, and show how far it is'] as const
const REQUEST_ID = [
  '--request-id <id>',
  'makes it safe to repeat: the same id gives the same answer',
] as const

export function addResourceCommands(program: Command): void {
  const create = clientCommand(
    program,
    'create <kind>',
    'make a resource',
    'rekindle create volume --set name=data --set size=1 --wait',
  )
  setOption(create, 'a field of its data (repeat for more)')
    .option('--cluster <cluster@backend>', 'where; by default where there is most room')
    .option(...REQUEST_ID)
    .option(...WAIT)
    .action(async (kind: string, options: SubmitOptions) => {
      const row = await submit(clientFor(options), ['resources', kind], asked(options), options.wait === true)
      report(row, options)
    })

  const op = clientCommand(
    program,
    'op <kind> <id> <operation>',
    'start an operation on a resource',
    'rekindle op volume ID extend --set size=2 --wait',
  )
  setOption(op, 'a field of its input (repeat for more)')
    .option(...REQUEST_ID)
    .option(...WAIT)
    .action(async (kind: string, id: string, operation: string, options: SubmitOptions) => {
      const path = ['resources', kind, id, operation]
      report(await submit(clientFor(options), path, asked(options), options.wait === true), options)
    })

  clientCommand(program, 'cancel <kind> <id>', 'cancel the running operation', 'rekindle cancel volume ID')
    .option(...WAIT)
    .action(async (kind: string, id: string, options: SubmitOptions) => {
      const client = clientFor(options)
      const first = await client.ask<Settlement>('POST', ['resources', kind, id, 'cancel'])
      if (options.wait !== true || first.outcome !== 'accepted') return report(first.row, options)
      report(await waitFor(client, first, () => endOfCancel(client, first)), options)
    })

  clientCommand(program, 'list <kind>', 'list resources', 'rekindle list volume --status error')
    .option('--status <status>', 'in this status')
    .option('--worker <worker>', 'queued at this cluster@backend, or taken by this host@backend')
    .option('--cluster <cluster@backend>', 'of this cluster')
    .option('--limit <count>', 'at most so many', whole('--limit', 1, 1_000_000))
    .option('--after <id>', 'go on behind this one')
    .action(list)

  clientCommand(program, 'show <kind> <id>', 'show a resource', 'rekindle show volume ID').action(
    async (kind: string, id: string, options: ClientOptions) => {
      const row = await clientFor(options).ask<ResourceRow>('GET', ['resources', kind, id])
      if (options.json) printJson(row)
      else show(row)
    },
  )
}

function asked({ set, requestId, cluster }: SubmitOptions) {
  // fromEntries makes own fields of any name: what the server has to refuse reaches it.
  const body = set === undefined ? {} : { body: Object.fromEntries(set) }
  return { ...body, query: { request_id: requestId, cluster } }
}

function report(row: ResourceRow, { json }: ClientOptions): void {
  if (json) {
    printJson(row)
    return
  }
  const who = whoHas(row)
  print(plain(`${row.kind} ${row.id} is ${row.status}${who === '' ? '' : `, ${who}`}`))
}

/** A cancel has no request id: its end is told by the row, in which the operation no longer stands. */
async function endOfCancel(client: Client, first: Settlement): Promise<Settlement> {
  const { kind, id, operation } = first.row
  const row = await client.ask<ResourceRow>('GET', ['resources', kind, id])
  if (row.operation !== null && row.operation.accepted_version === operation?.accepted_version) {
    await new Promise<void>((resolve) => void client.environment.timer(200, resolve))
    return first
  }
  return { ...first, outcome: 'done', row }
}

async function list(kind: string, options: ListOptions): Promise<void> {
  const client = clientFor(options)
  const { status, worker, cluster, limit = Number.POSITIVE_INFINITY } = options
  const rows: ResourceRow[] = []
  let after: string | null = options.after ?? null
  do {
    const page: Listed = await client.ask<Listed>('GET', ['resources', kind], {
      query: {
        ...{ status, worker, cluster },
        after: after ?? undefined,
        limit: String(Math.min(1_000, limit - rows.length)),
      },
    })
    rows.push(...page.rows)
    after = page.next
  } while (after !== null && rows.length < limit)
  if (options.json) return printJson(rows)
  print(
    tableOf(
      ['ID', 'STATUS', 'WORKER', 'UPDATED', 'DATA'],
      rows.map((row) => [
        row.id,
        row.status,
        whoHas(row) || '-',
        dayAndTime(row.updated_at),
        fieldsOf(row.data),
      ]),
    ),
  )
  if (after !== null) tell(`there are more: go on with --after ${after}`)
}

function show(row: ResourceRow): void {
  const { operation, error } = row
  const lines: [string, string][] = [
    ['status', row.status],
    ['data', fieldsOf(row.data)],
    ['cluster', row.cluster],
    ['worker', whoHas(row) || 'nobody'],
    ['last host', row.host ?? 'none'],
  ]
  if (operation !== null) {
    const { name, input, progress } = operation
    lines.push(['operation', `${name} ${fieldsOf(input)}`.trimEnd()])
    if (progress !== null)
      lines.push(['progress', `${Math.floor(progress.fraction * 100)} % ${progress.note}`])
  }
  if (row.held_by !== null) lines.push(['held by', `${row.held_by.kind} ${row.held_by.id}`])
  if (error !== null) lines.push(['error', `${error.code}: ${error.message}`])
  lines.push(['created', dayAndTime(row.created_at)], ['updated', dayAndTime(row.updated_at)])
  print(plain(`${row.kind} ${row.id}`))
  for (const [name, value] of lines) print(`  ${name.padEnd(10)} ${plain(value)}`)
}

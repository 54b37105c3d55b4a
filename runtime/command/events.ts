// events: the change feed, as it happens.

import type { Command } from 'commander'
import type { ResourceRow, RuntimeEvent, ServiceRow } from '../index.ts'
import { EXIT, Exit } from './exit.ts'
import { type ClientOptions, clientCommand, clientFor, whole } from './options.ts'
import { plain, print, printJson, tell, timeOfDay, whoHas } from './output.ts'

interface EventsOptions extends ClientOptions {
  readonly from?: number
  readonly kind?: string
  readonly id?: string
}

const RETRY_MS = 500
const TRIES = 20

export function addEventsCommand(program: Command): void {
  clientCommand(
    program,
    'events',
    'follow every change; with --json a JSON value a line',
    'rekindle events --kind volume',
  )
    .option(
      '--from <offset>',
      'everything after this offset first; 0 for all that is kept',
      whole('--from', 0, 1e15),
    )
    .option('--kind <kind>', 'of this kind only')
    .option('--id <id>', 'of this resource only')
    .action(follow)
}

/** Comes back where it was when the connection is lost; gives up when the server stays away. */
async function follow({ from, kind, id, ...options }: EventsOptions): Promise<void> {
  const client = clientFor(options)
  process.once('SIGINT', () => process.exit(EXIT.done))
  const query = { from: from === undefined ? undefined : String(from), kind, id }
  const last: { id: string | null } = { id: null }
  for (let tries = 0; ; tries++) {
    try {
      for await (const event of client.events(query, new AbortController().signal, last)) {
        tries = 0
        if (options.json) printJson(event)
        else print(`${timeOfDay(client.environment.now())}  ${plain(wordsFor(event))}`)
      }
    } catch (error) {
      const isGone = !(error instanceof Exit) || error.exit === EXIT.unreachable
      if (!isGone || last.id === null || tries >= TRIES) throw error
    }
    if (tries === 0) tell('the connection is lost; trying again')
    await new Promise<void>((resolve) => void client.environment.timer(RETRY_MS, resolve))
  }
}

export function wordsFor(event: RuntimeEvent): string {
  if (event.type === 'progress') {
    const { fraction, note } = event.progress
    return `${event.kind} ${event.id}  ${Math.floor(fraction * 100)} % ${note}`
  }
  const name = event.key.replace('/', ' ')
  if (event.row === null) return `${name}  is forgotten`
  if (event.row.kind === 'service') {
    const { host, backend, state, incarnation, cleaned_incarnation } = event.row as unknown as ServiceRow
    const cleaned = state === 'down' && cleaned_incarnation === incarnation ? ', and its work put right' : ''
    return `node ${host}@${backend}  ${state} (life ${incarnation})${cleaned}`
  }
  const { status, worker, incarnation, error } = event.row as unknown as ResourceRow
  if (status === undefined) return name
  const who = whoHas({ worker: worker ?? null, incarnation: incarnation ?? null })
  const why = error == null ? '' : `  ${error.code}: ${error.message}`
  return `${name}  ${status}${who === '' ? '' : `  ${who}`}${why}`
}

// Waits for the end of an operation and shows how far it is. Asking again with the same request id gives
// the same answer, so a wait outlives a lost connection and a server that was started again.

import type { ResourceRow } from '../index.ts'
import type { Ask, Client, Settlement } from './client.ts'
import { EXIT, Exit } from './exit.ts'
import { tell, whoHas } from './output.ts'
import { ProgressLine } from './progress_line.ts'

const ASK_FOR_S = 20
const RETRY_MS = 500
/** How long a server that went away is looked for. */
const LOOK_FOR_MS = 15_000

/** Accepts by `path`, and waits for the end where asked to. Throws Exit `failed` where it failed. */
export async function submit(
  client: Client,
  path: readonly string[],
  { body, query }: { readonly body?: object; readonly query: Readonly<Record<string, string | undefined>> },
  wait: boolean,
): Promise<ResourceRow> {
  // An id of our own makes the accept safe to repeat.
  const request_id = query.request_id ?? `rekindle-${client.environment.id()}`
  const ask: Ask = { ...(body && { body }), query: { ...query, ...(wait && { request_id }) } }
  const first = await client.ask<Settlement>('POST', path, ask)
  if (!wait) return first.outcome === 'failed' ? failed(first) : first.row
  return waitFor(client, first, () =>
    client.ask<Settlement>('POST', path, { ...ask, query: { ...ask.query, wait: String(ASK_FOR_S) } }),
  )
}

/** `again` asks how it stands, and may take its time. */
export async function waitFor(
  client: Client,
  first: Settlement,
  again: () => Promise<Settlement>,
): Promise<ResourceRow> {
  const name = `${first.row.kind} ${first.id}`
  const over = new AbortController()
  const line = new OperationLine(name)
  const onInterrupt = () => {
    line.end()
    tell(`not waiting any longer; the operation goes on: 'rekindle show ${name}' tells how it stands`)
    process.exit(EXIT.interrupted)
  }
  process.once('SIGINT', onInterrupt)
  try {
    line.row(first.row)
    const watching = watch(client, first.row, line, over.signal)
    let now = first
    let away_since: number | null = null
    while (now.outcome === 'accepted') {
      try {
        now = await again()
        away_since = null
      } catch (error) {
        if (!(error instanceof Exit) || error.exit !== EXIT.unreachable) throw error
        const at = client.environment.monotonic()
        if (away_since === null) line.say('the server is gone; looking for it again')
        away_since ??= at
        if (at - away_since > LOOK_FOR_MS)
          throw new Exit(
            EXIT.unreachable,
            `${error.message}; ${name} was accepted and goes on when the server is back`,
            error.error,
          )
        await new Promise<void>((resolve) => void client.environment.timer(RETRY_MS, resolve))
      }
    }
    over.abort()
    await watching
    line.row(now.row)
    return now.outcome === 'failed' ? failed(now) : now.row
  } finally {
    over.abort()
    line.end()
    process.removeListener('SIGINT', onInterrupt)
  }
}

/** The end of an operation that did not succeed; with --json the row is printed all the same. */
export class OperationFailed extends Exit {
  readonly row: ResourceRow
  constructor({ row, error }: Settlement) {
    super(EXIT.failed, `${row.kind} ${row.id} is ${row.status}: ${error?.code}: ${error?.message}`)
    this.row = row
  }
}

function failed(settlement: Settlement): never {
  throw new OperationFailed(settlement)
}

/** For the eye only: what it misses, the wait does not. */
async function watch(
  client: Client,
  row: ResourceRow,
  line: OperationLine,
  signal: AbortSignal,
): Promise<void> {
  const { kind, id } = row
  // What happened between the accept and the stream's opening.
  const onOpen = () => {
    const now = client.ask<ResourceRow>('GET', ['resources', kind, id], { signal })
    void now.then((found) => line.row(found)).catch(() => {})
  }
  try {
    for await (const event of client.events({ kind, id }, signal, undefined, onOpen)) {
      if (event.type === 'progress') line.progress(event.progress.fraction, event.progress.note)
      else if (event.row !== null) line.row(event.row as unknown as ResourceRow)
    }
  } catch {
    // The stream ended with the wait, or with the server.
  }
}

/** What is to be seen of one operation. */
class OperationLine extends ProgressLine {
  #status = ''
  #version = 0

  row(row: ResourceRow): void {
    if (row.version <= this.#version) return
    this.#version = row.version
    const who = whoHas(row)
    this.#status =
      who === '' ? row.status : `${row.status}, ${row.incarnation === null ? who : `${who} works on it`}`
    this.say(this.#status)
  }

  progress(fraction: number, note: string): void {
    this.flicker(`${this.#status} ${Math.floor(fraction * 100)} % ${note}`)
  }
}

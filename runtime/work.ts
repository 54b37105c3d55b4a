// One claim's work: raise the mark, run the driver's method, watch its time, and say how it ended once the
// row may be released (rule R18). It never writes a row; the node that claimed does.

import { parentRef, type Types, takenRefs } from '../machines/decision.ts'
import type { JsonObject, Progress, Ref, ResourceRow } from '../machines/row.ts'
import { keyOf, type Store } from '../store/store.ts'
import type { Call, Calls } from './calls.ts'
import { type Driver, type DriverContext, DriverError, type DriverMethod, type Exported } from './driver.ts'
import type { Environment } from './environment.ts'
import { messageOf } from './error.ts'
import { LOG_LEVELS, type Logger, type LogLevel } from './log.ts'

/** How a claim's work ended, as the chart is told. */
export type Ending =
  | { readonly ok: true; readonly changes: JsonObject }
  | { readonly ok: false; readonly code: string; readonly message: string }

/** What is aborted, and why; `code` goes into the row where the abort ends the operation. */
export class Aborted extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.name = 'AbortError'
    this.code = code
  }
}

export interface Bench {
  readonly types: Types
  readonly store: Store
  readonly driver: Driver
  readonly calls: Calls
  readonly environment: Environment
  /** `host@backend`. */
  readonly worker: string
  readonly operation_timeout_ms: number
  /** How long an aborted call may take to settle before its mark is raised over it. */
  readonly abort_grace_ms: number
  /** The driver of a node of this process that consumes this topic. */
  readonly driverAt: (topic: string) => Driver | null
  /** Resolves when the driver may be called; for ever pending where its life may work no longer. */
  readonly prepared: () => Promise<void>
  /** The life is over: the row is others' to release. */
  readonly isOver: () => boolean
  readonly onProgress: (row: ResourceRow, progress: Progress) => void
  /** About this claim. */
  readonly log: Logger
}

/** Changes to a row's data above this many characters of JSON are nonsense. */
const MOST_CHANGES = 256 * 1024
const MOST_CODE = 100

/**
 * Does what the claimed row asks for and resolves when the row may be released; never rejects. A call that
 * was aborted and does not settle: with a driver that fences, the mark is raised over it and the work ends;
 * without one it resolves only when the call has settled.
 */
export async function work(bench: Bench, row: ResourceRow, call: Call): Promise<Ending> {
  const { calls, environment } = bench
  const limit = bench.types.get(row.kind)!.table.operations[row.operation!.name]?.timeout_ms
  const timeout_ms = limit ?? bench.operation_timeout_ms
  const timer = environment.timer(timeout_ms, () =>
    calls.abort(call, new Aborted('timed_out', `not done after ${timeout_ms} ms`)),
  )
  try {
    const { abort } = call
    await assertClaimed(bench, row)
    const related = await relatedRows(bench, row)
    // An older claim's call may still run somewhere: from here on the backend refuses it (rule R8).
    if (call.can_fence) await abort.orAborted(raiseMarks(bench.driver, row, related, 0))
    await abort.orAborted(bench.prepared())
    const method = methodFor(bench.driver, row)
    if (method !== null) {
      const source = movesIt(bench, row) ? await abort.orAborted(sourceOf(bench, row, abort.signal)) : null
      return await run(bench, method, contextOf(bench, row, related, source, call), call)
    }
    calls.settled(call)
    return { ok: true, changes: {} }
  } catch (error) {
    // The driver's method was not begun.
    calls.settled(call)
    return failure(error)
  } finally {
    timer.clear()
  }
}

/**
 * A force operation or a cancel of another process may overtake the answer of the claim, and found no call to
 * abort then. The call is known by now, so what comes from here on aborts it (rule R13).
 */
async function assertClaimed({ store }: Bench, row: ResourceRow): Promise<void> {
  const found = (await store.get(keyOf(row))) as ResourceRow | undefined
  if (found?.fence !== row.fence || found.incarnation !== row.incarnation)
    throw new Aborted('superseded', 'its claim is over')
  if (found.operation?.cancel_requested_at != null && row.operation!.cleanup === null)
    throw new Aborted('cancelled', 'cancelled before the driver was called')
}

/** What the claim asks of the driver; null where nothing is to be done at the backend. */
function methodFor(driver: Driver, row: ResourceRow): DriverMethod | null {
  const { cleanup } = row.operation!
  if (cleanup !== null) return undoOf(driver, cleanup.policy)
  return methodOf(driver, row)
}

function methodOf(driver: Driver, row: ResourceRow): DriverMethod {
  const { name } = row.operation!
  const methods = driver.operations[row.kind]
  const method = methods?.[name]
  if (typeof method !== 'function')
    throw new DriverError('no_driver_method', `the driver has no method for ${name} of ${row.kind}`)
  return (context) => method.call(methods, context)
}

/** Only where the policy says that nothing is left: an error status keeps what was made. */
function undoOf(driver: Driver, policy: string): DriverMethod | null {
  if (driver.undo === undefined || (policy !== 'restore' && policy !== 'gone')) return null
  return (context) => driver.undo!(context)
}

/** Never rejects: a driver's failure is an ending. */
function run(bench: Bench, method: DriverMethod, context: DriverContext, call: Call): Promise<Ending> {
  const settled = settle(bench, method, context, call)
  return call.can_fence ? Promise.race([settled, fencedOff(bench, context, call)]) : settled
}

/** The node may be over before it settles; the call is known until then, whoever waits for it. */
async function settle(
  bench: Bench,
  method: DriverMethod,
  context: DriverContext,
  call: Call,
): Promise<Ending> {
  try {
    return checkedChanges(await method(context))
  } catch (error) {
    return failure(error)
  } finally {
    bench.calls.settled(call)
  }
}

/** Resolves when the call was aborted, did not settle in its grace, and its mark is raised over it. */
function fencedOff(bench: Bench, context: DriverContext, call: Call): Promise<Ending> {
  const { abort } = call
  return new Promise((resolve) => {
    const giveUp = () =>
      bench.environment.timer(bench.abort_grace_ms, async () => {
        if (bench.isOver() || bench.calls.hasSettled(call)) return
        try {
          await raiseMarks(bench.driver, context.row, context.relatedRows, 1)
          resolve(failure(abort.reason))
        } catch (error) {
          bench.log.warn(`the mark could not be raised: ${messageOf(error)}`)
          giveUp()
        }
      })
    abort.onAbort(giveUp)
  })
}

/** `above`: 0 lets this claim's own effects through, 1 refuses them as well. */
async function raiseMarks(
  driver: Driver,
  row: ResourceRow,
  related: readonly ResourceRow[],
  above: number,
): Promise<void> {
  if (driver.fence === undefined) return
  await driver.fence(row, row.fence + above)
  for (const other of related)
    if (other.held_by?.kind === row.kind && other.held_by.id === row.id)
      await driver.fence(other, other.fence + above)
}

/** The rows that take part, as they are now: the claim holds them. */
async function relatedRows({ types, store }: Bench, row: ResourceRow): Promise<ResourceRow[]> {
  const taken = takenRefs(types, row.kind, row.operation!.name, row.operation!.input)
  const parent = parentRef(types, row.kind, row.data)
  const refs: readonly Ref[] = parent === null ? taken : [...taken, parent]
  const related: ResourceRow[] = []
  for (const ref of refs) {
    const found = await store.get(keyOf(ref))
    if (found !== undefined) related.push(found as unknown as ResourceRow)
  }
  return related
}

function movesIt({ types }: Bench, { kind, operation }: ResourceRow): boolean {
  return operation!.cleanup === null && types.get(kind)!.table.operations[operation!.name]?.moves === true
}

/** What a migration copies: opened by the driver of the place it leaves, in this process. */
async function sourceOf(bench: Bench, row: ResourceRow, signal: AbortSignal): Promise<Exported> {
  const driver = bench.driverAt(row.cluster)
  if (driver?.export === undefined)
    throw new DriverError(
      'source_unreachable',
      `no node of ${row.cluster} in this process has a driver that can export: run nodes of both places in one process`,
    )
  // An older claim's call may still write there (rule R8).
  await driver.fence?.(row, row.fence)
  return driver.export(row, signal)
}

function contextOf(
  bench: Bench,
  row: ResourceRow,
  relatedRows: readonly ResourceRow[],
  source: Exported | null,
  call: Call,
): DriverContext {
  const { name, input } = row.operation!
  const { abort } = call
  const related: { [kind: string]: ResourceRow } = {}
  for (const other of relatedRows) related[other.kind] ??= other
  return {
    row,
    operation: name,
    input,
    related,
    relatedRows,
    source,
    get signal() {
      return abort.signal
    },
    fence: row.fence,
    attempt: row.attempts,
    progress(fraction, note = '') {
      if (abort.reason !== null || !Number.isFinite(fraction)) return
      const within = Math.min(1, Math.max(0, fraction))
      bench.onProgress(row, {
        fraction: within,
        note: String(note).slice(0, 200),
        at: bench.environment.now(),
      })
    },
    log: (message, level) => bench.log.tell(levelOf(level), String(message).slice(0, 1000)),
  }
}

/** A driver may say what it likes. */
function levelOf(given: unknown): LogLevel {
  return LOG_LEVELS.find((level) => level === given) ?? 'info'
}

/** Never throws: a code that is no short text says nothing. */
function failure(error: unknown): Ending {
  const worded = error instanceof DriverError || error instanceof Aborted
  let code = 'driver_failed'
  try {
    if (worded && typeof error.code === 'string' && error.code.length <= MOST_CODE) code = error.code
  } catch {
    // A getter that throws.
  }
  return { ok: false, code, message: messageOf(error) }
}

/** A driver may answer with nothing or with a plain JSON object; anything else is its failure. */
function checkedChanges(answer: unknown): Ending {
  if (answer === undefined || answer === null) return { ok: true, changes: {} }
  const nonsense = (why: string): Ending => ({
    ok: false,
    code: 'driver_nonsense',
    message: `the driver answered with ${why}`,
  })
  if (typeof answer !== 'object' || Array.isArray(answer))
    return nonsense(`a ${Array.isArray(answer) ? 'list' : typeof answer}; changes are an object`)
  let text: string
  try {
    text = JSON.stringify(answer)
  } catch (error) {
    return nonsense(`something that is not JSON: ${messageOf(error)}`)
  }
  if (text === undefined || text.length > MOST_CHANGES)
    return nonsense(`more than ${MOST_CHANGES} characters of data`)
  const changes: unknown = JSON.parse(text)
  if (typeof changes !== 'object' || changes === null || Array.isArray(changes))
    return nonsense('something whose JSON is no object')
  return { ok: true, changes: changes as JsonObject }
}

// What every driver owes the runtime, as tests over a story: operations in an order that works from an
// empty backend. It knows no test runner and no kind of resource (the story has them).

import assert from 'node:assert/strict'
import { type JsonObject, type Ref, type ResourceRow, refOf } from '../../machines/row.ts'
import { type Driver, type DriverContext, DriverError, type DriverSetup } from '../../runtime/driver.ts'
import type { GeneratedTest } from './generated_test.ts'

/** One operation of the story. */
export interface DriverStep {
  readonly ref: Ref
  readonly operation: string
  readonly input?: JsonObject
  /** The data of a resource that this step makes; undoing it must leave the backend as it was before. */
  readonly makes?: JsonObject
  /** Rows that take part: each was made by an earlier step. */
  readonly related?: readonly Ref[]
}

export interface DriverSubject {
  readonly story: readonly DriverStep[]
  /** A driver over an empty backend, for one test. It is set up by the suite. */
  open(): Promise<{
    readonly driver: Driver
    /** All that can be seen at the backend, in a form that compares; marks and what is no resource left out. */
    look(): Promise<unknown>
    close(): Promise<void>
  }>
}

/**
 * The tests that hold for any driver: each operation run twice, aborted, fenced and undone; its progress, its
 * set-up and its capacity. What needs `fence`, `undo` or `capabilities` is left out where the driver has none.
 * A test rejects with an AssertionError that says what was expected.
 *
 * @example
 * for (const { title, run } of driverContract({ story, open })) test(title, run)
 */
export function driverContract(subject: DriverSubject): readonly GeneratedTest[] {
  const tests: GeneratedTest[] = []
  const test = (title: string, run: () => Promise<void>) => void tests.push({ title, run })
  /** Plays the story; `check` runs each step itself, as often and as badly as it likes, but once for good. */
  const tells = (title: string, check: (stage: Stage) => Promise<void>) =>
    test(title, async () => {
      const { driver, look, close } = await subject.open()
      try {
        await driver.setup?.(setupOf())
        const rows = new Map<string, ResourceRow>()
        for (const step of subject.story) {
          const stage = new Stage(driver, look, step, rows)
          await check(stage)
          assert.ok(stage.done, `the check of '${title}' never finished ${step.operation}`)
        }
      } finally {
        await close()
      }
    })

  tells('an operation run twice leaves and tells what one run does', async (stage) => {
    const first = await stage.run()
    const seen = await stage.look()
    assert.deepEqual(await stage.run(), first, 'again by the same claim')
    assert.deepEqual(await stage.look(), seen)
    assert.deepEqual(await stage.claim().run(), first, 'again by the next claim')
    assert.deepEqual(await stage.look(), seen)
  })

  tells(
    'an operation aborted before it starts rejects with the reason and changes nothing',
    async (stage) => {
      const before = await stage.look()
      const reason = new Error('the node fenced itself')
      const settled = await stage.settle({ signal: AbortSignal.abort(reason) })
      assert.equal(settled.error, reason)
      assert.deepEqual(await stage.look(), before)
      await stage.claim().run()
    },
  )

  tells(
    'an operation aborted on its way rejects with the reason or ends well, and can be run again',
    async (stage) => {
      const control = new AbortController()
      const reason = new Error('timed out')
      const settled = await stage.settle({ signal: control.signal, progress: () => control.abort(reason) })
      if ('error' in settled) assert.equal(settled.error, reason)
      const again = await stage.claim().run()
      if ('result' in settled) assert.deepEqual(again, settled.result)
    },
  )

  tells('progress stays between 0 and 1 and never goes back', async (stage) => {
    let last = 0
    await stage.run({
      progress(fraction) {
        assert.ok(fraction >= last && fraction <= 1, `progress went from ${last} to ${fraction}`)
        last = fraction
      },
    })
  })

  tells('once the mark is raised an older fence is refused and changes nothing', async (stage) => {
    if (stage.driver.fence) {
      await stage.driver.fence(stage.row, stage.row.fence + 1)
      const before = await stage.look()
      assertFenced(await stage.settle())
      assert.deepEqual(await stage.look(), before)
    }
    await stage.claim().run()
  })

  tells(
    'the mark only goes up: a lower raise is ignored, of many at once the highest stays',
    async (stage) => {
      if (stage.driver.fence) {
        const { row, driver } = stage
        const raise = (more: number) => driver.fence?.(row, row.fence + more)
        await Promise.all([3, 5, 1, 4, 2].map(raise))
        await raise(1)
        stage.claim(4)
        assertFenced(await stage.settle())
      }
      await stage.claim().run()
    },
  )

  tells(
    'an undo run twice does what one does, and that of a create leaves what was before',
    async (stage) => {
      const before = await stage.look()
      await stage.run()
      if (stage.driver.undo) {
        stage.claim()
        const first = await stage.driver.undo(stage.context())
        const seen = await stage.look()
        if (stage.makes) assert.deepEqual(seen, before)
        assert.deepEqual(await stage.driver.undo(stage.context()), first)
        assert.deepEqual(await stage.look(), seen)
        await stage.claim().run()
      }
    },
  )

  tells('undoing what never began changes nothing', async (stage) => {
    if (stage.driver.undo) {
      const before = await stage.look()
      await stage.driver.undo(stage.context())
      assert.deepEqual(await stage.look(), before)
    }
    await stage.claim().run()
  })

  test('capabilities are amounts: free is between 0 and the total', async () => {
    const { driver, close } = await subject.open()
    try {
      await driver.setup?.(setupOf())
      const { total_gib = null, free_gib = null } = (await driver.capabilities?.()) ?? {}
      for (const amount of [total_gib, free_gib])
        assert.ok(amount === null || (amount >= 0 && amount < Infinity))
      if (total_gib !== null && free_gib !== null) assert.ok(free_gib <= total_gib)
    } finally {
      await close()
    }
  })

  test('a set-up that runs again, also beside a running node, disturbs nothing', async () => {
    const { driver, look, close } = await subject.open()
    try {
      await driver.setup?.(setupOf())
      const rows = new Map<string, ResourceRow>()
      for (const step of subject.story) {
        const stage = new Stage(driver, look, step, rows)
        const settingUp: Promise<void>[] = []
        await stage.run({ progress: () => settingUp.push(driver.setup?.(setupOf()) ?? Promise.resolve()) })
        await Promise.all(settingUp)
        const seen = await look()
        await driver.setup?.(setupOf())
        assert.deepEqual(await look(), seen)
      }
    } finally {
      await close()
    }
  })
  return tests
}

type Settled = { readonly result: JsonObject | void } | { readonly error: unknown }

/** One step of the story with the rows so far: claims it, runs it, and keeps what it told. */
class Stage {
  readonly driver: Driver
  readonly look: () => Promise<unknown>
  readonly makes: boolean
  row: ResourceRow
  done = false
  readonly #step: DriverStep
  readonly #rows: Map<string, ResourceRow>

  constructor(
    driver: Driver,
    look: () => Promise<unknown>,
    step: DriverStep,
    rows: Map<string, ResourceRow>,
  ) {
    this.driver = driver
    this.look = look
    this.makes = step.makes !== undefined
    this.#step = step
    this.#rows = rows
    this.row = step.makes === undefined ? this.#known(step.ref) : rowOf(step.ref, step.makes)
    this.claim()
  }

  /** The next claim of the operation: a higher fence. */
  claim(more = 1): this {
    this.row = { ...this.row, fence: this.row.fence + more }
    return this
  }

  context(given: Partial<DriverContext> = {}): DriverContext {
    const { operation, input, related = [] } = this.#step
    const rows = Object.fromEntries(related.map((ref) => [ref.kind, this.#known(ref)]))
    return contextOf(this.row, operation, { input: input ?? this.#step.makes ?? {}, related: rows, ...given })
  }

  /** Runs the operation for good. */
  async run(given?: Partial<DriverContext>): Promise<JsonObject | void> {
    const result = await this.#method()(this.context(given))
    this.#rows.set(nameOf(this.row), { ...this.row, data: { ...this.row.data, ...result } })
    this.done = true
    return result
  }

  /** Runs the operation badly: tells how it ended, and the story does not count it. */
  async settle(given?: Partial<DriverContext>): Promise<Settled & { readonly error?: unknown }> {
    try {
      return { result: await this.#method()(this.context(given)) }
    } catch (error) {
      return { error }
    }
  }

  #method() {
    const { ref, operation } = this.#step
    const method = this.driver.operations[ref.kind]?.[operation]
    assert.ok(method, `the driver has no ${operation} of ${ref.kind}`)
    return method
  }

  #known(ref: Ref): ResourceRow {
    const row = this.#rows.get(nameOf(ref))
    assert.ok(row, `no step of the story made ${nameOf(ref)}`)
    return row
  }
}

function nameOf(ref: Ref): string {
  return `${ref.kind} ${ref.id}`
}

function assertFenced(settled: Settled): void {
  assert.ok('error' in settled, 'an older fence was let through')
  assert.ok(settled.error instanceof DriverError, `refused with ${String(settled.error)}`)
  assert.equal(settled.error.code, 'fenced')
}

/** A claimed row as a driver sees one; `given` replaces fields. */
export function rowOf(ref: Ref, data: JsonObject, given: Partial<ResourceRow> = {}): ResourceRow {
  return {
    ...{
      ...refOf(ref),
      version: 1,
      status: 'working',
      previous_status: null,
      worker: null,
      incarnation: null,
    },
    ...{ operation: null, cluster: 'c@b', host: null, held_by: null, fence: 0, attempts: 1, children: {} },
    ...{ data, error: null, created_at: 0, updated_at: 0 },
    ...given,
  }
}

/** The context of a claim of `row`, with a signal that never fires; `given` replaces fields. */
export function contextOf(
  row: ResourceRow,
  operation: string,
  given: Partial<DriverContext> = {},
): DriverContext {
  return {
    ...{ row, operation, input: {}, related: {}, relatedRows: Object.values(given.related ?? {}) },
    ...{ source: null, fence: row.fence, attempt: 1 },
    signal: new AbortController().signal,
    progress: () => undefined,
    log: () => undefined,
    ...given,
  }
}

export function setupOf(signal: AbortSignal = new AbortController().signal): DriverSetup {
  return { cluster: 'c', backend: 'b', host: 'h', signal, log: () => undefined }
}

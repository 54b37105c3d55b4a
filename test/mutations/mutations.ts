// One-line mutations of the shipped code: each drops or bends one thing that a rule or a guarantee stands on,
// and the tests named with it must turn red, the cheapest first. `find` is there exactly once in its file, so
// that this list can't rot unseen. A mutation that survives is a missing test, not a line to be removed here.

export interface Mutation {
  readonly name: string
  /** What it breaks, a rule of the README by number or a guarantee in words. */
  readonly breaks: string
  readonly file: string
  readonly find: string
  readonly replace: string
  /** Test files that are to turn red, tried in this order. */
  readonly tests: readonly string[]
}

const DECISIONS = 'test/machines/decision.test.ts'
const RULES = 'test/sabotage/rules.test.ts'
const RACES = 'test/faults/races.test.ts'
const MAILBOX = 'test/runtime/mailbox.test.ts'
const STORE_CONTRACT = 'test/store/contract.test.ts'
const STORE_CRASH = 'test/store/crash.test.ts'
const STORE_FAULT = 'test/store/fault.test.ts'
const STORE_DAMAGE = 'test/store/damage.test.ts'

const claims: readonly Mutation[] = [
  {
    name: 'fence-of-finish',
    breaks: 'R1: a finish compares the fence of its claim',
    file: 'machines/vocabulary.ts',
    find: '      context.fence === fence\n',
    replace: '      fence >= 0\n',
    tests: [DECISIONS, RULES],
  },
  {
    name: 'incarnation-of-finish',
    breaks: 'R1, R2: a finish compares the incarnation of its claim',
    file: 'machines/vocabulary.ts',
    find: '      context.incarnation === claimant.incarnation &&\n',
    replace: '      claimant.incarnation > 0 &&\n',
    tests: [DECISIONS, RULES],
  },
  {
    name: 'cleaner-takes-one-life-less',
    breaks: 'R2: a cleaner takes claims up to the incarnation it saw down',
    file: 'machines/vocabulary.ts',
    find: 'context.incarnation <= incarnation',
    replace: 'context.incarnation < incarnation',
    tests: [DECISIONS, 'test/behaviours/crash.test.ts'],
  },
  {
    name: 'cleaner-takes-one-life-more',
    breaks: 'R2: a cleaner never takes the claim of a later life',
    file: 'machines/vocabulary.ts',
    find: 'context.incarnation <= incarnation',
    replace: 'context.incarnation <= incarnation + 1',
    tests: [DECISIONS, 'test/behaviours/crash.test.ts'],
  },
  {
    name: 'down-node-claims-and-finishes',
    breaks: 'R5: claim and finish compare the state of the service row',
    file: 'machines/vocabulary.ts',
    find: "service.state === 'up' && service.incarnation === incarnation",
    replace: 'service.incarnation === incarnation',
    tests: [DECISIONS, RULES],
  },
  {
    name: 'superseded-life-claims',
    breaks: 'R5: claim and finish compare the incarnation of the service row',
    file: 'machines/vocabulary.ts',
    find: "service.state === 'up' && service.incarnation === incarnation",
    replace: "service.state === 'up' && incarnation > 0",
    tests: [DECISIONS, RULES],
  },
  {
    name: 'claim-of-another-topic',
    breaks: 'a node consumes the topic of its cluster and no other',
    file: 'machines/vocabulary.ts',
    find: '}` === topicOfWork(context)',
    replace: '}` !== context.kind',
    tests: [DECISIONS],
  },
  {
    name: 'claim-keeps-the-fence',
    breaks: 'R2: the fence grows at each claim',
    file: 'machines/vocabulary.ts',
    find: '    const fence = context.fence + 1\n',
    replace: '    const fence = Math.max(context.fence, 1)\n',
    tests: [DECISIONS],
  },
  {
    name: 'attempts-not-counted',
    breaks: 'R15: claims of an operation are counted',
    file: 'machines/vocabulary.ts',
    find: 'operation.cleanup === null ? context.attempts + 1 : context.attempts,',
    replace: 'context.attempts,',
    tests: [DECISIONS, 'test/faults/driver.test.ts'],
  },
  {
    name: 'one-attempt-more',
    breaks: 'R15: past the limit an operation ends in its failed status',
    file: 'machines/vocabulary.ts',
    find: 'context.attempts >= (event',
    replace: 'context.attempts > (event',
    tests: [DECISIONS, 'test/faults/driver.test.ts'],
  },
  {
    name: 'requeue-keeps-the-fence',
    breaks: 'R2: the fence grows at each cleanup',
    file: 'machines/vocabulary.ts',
    find: '    incarnation: null,\n    fence: context.fence + 1,\n  })),\n  /** The cleanup must',
    replace: '    incarnation: null,\n    fence: context.fence,\n  })),\n  /** The cleanup must',
    tests: [DECISIONS],
  },
  {
    name: 'force-keeps-the-fence',
    breaks: 'R13: a force operation raises the fence',
    file: 'machines/vocabulary.ts',
    find: 'fence: params.rest ? context.fence : context.fence + 1,\n      error: null',
    replace: 'fence: context.fence,\n      error: null',
    tests: [DECISIONS],
  },
  {
    name: 'previous-status-in-transit',
    breaks: 'R13: previous_status is the last rest status, never a transitional one',
    file: 'machines/vocabulary.ts',
    find: 'previous_status: params.rest ? context.status : context.previous_status,\n      worker',
    replace: 'previous_status: context.status,\n      worker',
    tests: [DECISIONS],
  },
  {
    name: 'cancel-of-what-was-begun',
    breaks: 'a cancel undoes the accept only where no claim has begun anything',
    file: 'machines/vocabulary.ts',
    find: 'context.attempts === 0',
    replace: 'context.attempts >= 0',
    tests: [DECISIONS],
  },
  {
    name: 'failed-cleanup-is-due-at-once',
    breaks: 'R14: a cleanup that failed waits for its time',
    file: 'machines/vocabulary.ts',
    find: '?? 0) <= (event as { at: number }).at',
    replace: '?? 0) <= (event as { at: number }).at + 3_600_000',
    tests: [DECISIONS, 'test/behaviours/crash.test.ts'],
  },
  {
    name: 'cleaners-that-go-down-not-counted',
    breaks: 'R14: cleanups that take their node down with them are counted',
    file: 'machines/vocabulary.ts',
    find: 'cleanup: { ...cleanup, failures: cleanup.failures + 1 } },',
    replace: 'cleanup: { ...cleanup, failures: cleanup.failures } },',
    tests: [DECISIONS],
  },
]

const severalRows: readonly Mutation[] = [
  {
    name: 'held-row-not-released',
    breaks: 'all rows of an operation are released in the transaction that ends it',
    file: 'machines/decision.ts',
    find: 'return this.#tellHeld(before, release)',
    replace: "return release.type !== '' || this.#tellHeld(before, release)",
    tests: [DECISIONS],
  },
  {
    name: 'held-row-not-renewed',
    breaks: 'R8: a requeued operation renews what it holds, so that its older claim may not write there',
    file: 'machines/decision.ts',
    find: "return this.#tellHeld(row, { type: 'renew', holder: { ...refOf(row), fence: row.fence }, at })",
    replace: 'return true',
    tests: [DECISIONS],
  },
  {
    name: 'holder-not-dropped',
    breaks: 'R13: a force operation on a held row ends the operation that held it',
    file: 'machines/decision.ts',
    find: "return this.#tell(refOf(holder), { type: 'drop', by: refOf(row), at })",
    replace: 'return row.fence >= 0 && at > 0',
    tests: [DECISIONS],
  },
  {
    name: 'parent-not-told-of-its-child',
    breaks: 'an accept that makes a child changes the parent in the same transaction',
    file: 'machines/resource.ts',
    find: "...(isNew && this.#table.parent ? ['addChild'] : []),",
    replace: '',
    tests: [DECISIONS],
  },
  {
    name: 'parent-keeps-a-child-that-is-gone',
    breaks: 'a resource that becomes gone is no longer its parent’s child',
    file: 'machines/resource.ts',
    find: "? [...actions, 'removeChild'] : actions",
    replace: '? [...actions] : actions',
    tests: [DECISIONS],
  },
  {
    name: 'read-rows-do-not-bind',
    breaks: 'rows that a guard only looked at bind the decision (no write skew)',
    file: 'machines/decision.ts',
    find: 'if (related !== undefined && !this.#next.has(key)) read.push(related)',
    replace: 'if (related !== undefined && !this.#next.has(key)) read.length = 0',
    tests: [DECISIONS],
  },
  {
    name: 'child-of-what-is-gone',
    breaks: 'a resource is not made under a parent that is gone',
    file: 'machines/decision.ts',
    find: "row.version === 0 && found.status === 'gone'",
    replace: "row.version < 0 && found.status === 'gone'",
    tests: [DECISIONS],
  },
]

const swaps: readonly Mutation[] = [
  {
    name: 'commands-before-the-swap',
    breaks: 'nothing is rung, driven or answered before the change it follows from is on disk',
    file: 'runtime/commit.ts',
    find: 'const result = await store.transact(expect, changes)\n',
    replace:
      "const early = (decision.commands as (typeof decision.commands)[number][]).splice(0); for (const { type, row: of } of early) runner[type as 'ring']?.(of); const result = await store.transact(expect, changes)\n",
    tests: ['test/behaviours/accept.test.ts', RULES],
  },
  {
    name: 'service-row-does-not-bind',
    breaks: 'R5: claim and finish expect the service row in the same transaction',
    file: 'runtime/commit.ts',
    find: 'if (ask.binds !== undefined) expect.push',
    replace: "if (ask.binds === '') expect.push",
    tests: [RACES],
  },
  {
    name: 'request-row-not-written',
    breaks: 'the request row is written in the transaction of the accept',
    file: 'runtime/commit.ts',
    find: 'changes.push({ put: requestRow(ask.request, decision.row) })',
    replace: 'requestRow(ask.request, decision.row)',
    tests: ['test/faults/request.test.ts'],
  },
  {
    name: 'end-not-kept-for-a-repeated-call',
    breaks: 'a repeated request is told how its operation ended, however late',
    file: 'runtime/commit.ts',
    find: 'if (operation?.request_id == null) continue',
    replace: "if (operation?.request_id == null || operation.request_id !== '') continue",
    tests: ['test/faults/request.test.ts'],
  },
]

const lives: readonly Mutation[] = [
  {
    name: 'request-of-another-operation',
    breaks: 'a request id stands for one operation with one body',
    file: 'runtime/accept.ts',
    find: 'digest([kind, id, name, checked,',
    replace: 'digest([kind, id, checked,',
    tests: ['test/faults/request.test.ts'],
  },
  {
    name: 'store-trouble-counts-as-an-attempt',
    breaks: 'R14: trouble of the store counts against nobody',
    file: 'runtime/cleanup.ts',
    find: 'limits.attempts + spared.length',
    replace: 'limits.attempts',
    tests: ['test/faults/store.test.ts'],
  },
  {
    name: 'finish-not-tried-again',
    breaks: 'a finish that the store refused is tried again while its life lasts',
    file: 'runtime/node.ts',
    find: '      if (isStoreTrouble(error)) {\n        environment.timer',
    replace:
      '      if (isStoreTrouble(error)) return\n      if (isStoreTrouble(error)) {\n        environment.timer',
    tests: ['test/faults/store.test.ts', 'test/behaviours/accept.test.ts'],
  },
  {
    name: 'leftover-call-of-a-held-row-aborted',
    breaks: 'R13: a fence is compared with the fences of its own resource',
    file: 'runtime/calls.ts',
    find: 'if (call.key === key && call.fence',
    replace: 'if (call.fence',
    tests: ['test/runtime/calls.test.ts'],
  },
  {
    name: 'beat-without-the-service-row',
    breaks: 'R5: a beat expects the service row, so that none succeeds after the node was declared down',
    file: 'runtime/registration.ts',
    find: '          { key: keyOf(service), version: service.version },\n          { key: keyOf(next)',
    replace: '          { key: keyOf(next)',
    tests: [RACES],
  },
  {
    name: 'down-is-not-sticky',
    breaks: 'R5: down is for the rest of that incarnation',
    file: 'machines/service.ts',
    find: 'if (!states.includes(service.state)) return',
    replace: 'if (states.length === 0) return',
    tests: ['test/behaviours/fence.test.ts', 'test/faults/pause.test.ts', RULES],
  },
  {
    name: 'incarnations-by-cluster',
    breaks: 'R2: incarnations count by host@backend, whatever cluster its lives were in',
    file: 'machines/service.ts',
    find: 'Math.max(0, ...services.map((service) => service.incarnation)) + 1',
    replace: '(own?.incarnation ?? 0) + 1',
    tests: [RACES],
  },
  {
    name: 'takes-over-a-host-that-beats',
    breaks: 'R11: one life for each host@backend',
    file: 'runtime/registration.ts',
    find: 'const running = store.exclusive ?',
    replace: 'const running = store.exclusive || services.length > 0 ?',
    tests: ['test/behaviours/routing.test.ts', RULES],
  },
  {
    name: 'signs-off-with-work-in-hand',
    breaks: 'R6: a node that leaves a claim behind is not cleanup_done',
    file: 'runtime/registration.ts',
    find: 'cleaned_incarnation: left === 0 ?',
    replace: 'cleaned_incarnation: left >= 0 ?',
    tests: [RACES],
  },
  {
    name: 'start-cleans-its-own-life',
    breaks: 'R2: a starting node cleans the lives below its own',
    file: 'runtime/node.ts',
    find: 'incarnation: incarnation - 1,',
    replace: 'incarnation: incarnation - 2,',
    tests: ['test/behaviours/crash.test.ts'],
  },
  {
    name: 'fence-deadline-doubled',
    breaks: 'R8: a node without a successful beat fences itself before others may clean',
    file: 'machines/node.ts',
    find: 'at - context.beaten_at < context.fence_after_ms\n}',
    replace: 'at - context.beaten_at < 2 * context.fence_after_ms\n}',
    tests: ['test/behaviours/fence.test.ts', RULES],
  },
  {
    name: 'fenced-node-aborts-nothing',
    breaks: 'R8: a node that fences itself aborts its drivers',
    file: 'machines/node.ts',
    find: "its rows right.',\n      tags: ['over', 'restart'],\n      entry: 'abortAll',",
    replace: "its rows right.',\n      tags: ['over', 'restart'],",
    tests: ['test/behaviours/fence.test.ts'],
  },
]

const sweeps: readonly Mutation[] = [
  {
    name: 'late-sweep-counts',
    breaks: 'R12: an observer that was late counts anew',
    file: 'machines/scheduler.ts',
    find: 'context.swept_at === null || at - context.swept_at > 2 * context.sweep_ms',
    replace: 'context.swept_at === null',
    tests: [RACES],
  },
  {
    name: 'down-without-the-beat-judged',
    breaks: 'marking down expects the beat that was judged',
    file: 'runtime/scheduler.ts',
    find: 'expect.push({ key: `beat/',
    replace: 'if (service.version < 0) expect.push({ key: `beat/',
    tests: [RACES],
  },
  {
    name: 'cleanup-done-unconditionally',
    breaks: 'R6: cleanup_done is written by swap, for the incarnation seen down',
    file: 'runtime/scheduler.ts',
    find: '[{ key: keyOf(service), version: service.version }],\n      [{ put: next as unknown as StoredRow }],',
    replace:
      '[{ key: keyOf(service), version: ((await store.get(keyOf(service)))?.version ?? 0) }],\n      [{ put: { ...next, version: ((await store.get(keyOf(service)))?.version ?? 0) + 1 } as unknown as StoredRow }],',
    tests: [RACES],
  },
  {
    name: 'cleanup-done-with-the-down',
    breaks: 'R6: cleanup_done is written after the last row is put right',
    file: 'machines/service.ts',
    find: "version: service.version + 1, state: 'down' }",
    replace:
      "version: service.version + 1, state: 'down' as const, cleaned_incarnation: service.incarnation }",
    tests: ['test/behaviours/crash.test.ts', 'test/faults/cleanup.test.ts'],
  },
  {
    name: 'queued-rows-not-rung-again',
    breaks: 'R3: every sweep rings again for each queued row',
    file: 'runtime/scheduler.ts',
    find: 'for (const row of page.rows) this.#ports.runner.ring',
    replace: 'for (const row of page.rows.slice(page.rows.length)) this.#ports.runner.ring',
    tests: ['test/behaviours/crash.test.ts', RULES],
  },
  {
    name: 'rings-the-first-ones-only',
    breaks: 'rows that can’t be claimed now keep no other from its turn',
    file: 'runtime/scheduler.ts',
    find: 'this.#rung.set(topic, page.next)',
    replace: 'this.#rung.set(topic, null)',
    tests: [RACES],
  },
  {
    name: 'cleaner-ignores-a-leftover-call',
    breaks: 'R18: without a mark a row is not released while the old call runs here',
    file: 'runtime/cleanup.ts',
    find: "if (!duty.at_backend && ports.calls.holds(keyOf(row))) return 'left'",
    replace: "if (!duty.at_backend && duty.by === '') return 'left'",
    tests: ['test/faults/driver.test.ts', RULES],
  },
]

const work: readonly Mutation[] = [
  {
    name: 'claim-ignores-a-leftover-call',
    breaks: 'R18: a resource is claimed again in this process only after its old call has settled',
    file: 'runtime/node.ts',
    find: 'calls.holds(',
    replace: 'types.size < 0 && calls.holds(',
    tests: ['test/faults/driver.test.ts', RULES],
  },
  {
    name: 'mark-not-raised-over-a-leftover-call',
    breaks: 'R18: the mark is raised over a call that does not settle before its row is released',
    file: 'runtime/work.ts',
    find: 'await driver.fence(row, row.fence + above)',
    replace: 'await driver.fence(row, row.fence)',
    tests: ['test/faults/driver.test.ts'],
  },
  {
    name: 'mark-not-raised-before-the-driver',
    breaks: 'R8: from a claim on the backend refuses the claims before it',
    file: 'runtime/work.ts',
    find: 'raiseMarks(bench.driver, row, related, 0)',
    replace: 'Promise.resolve()',
    tests: ['test/faults/driver.test.ts', 'test/faults/pause.test.ts', RULES],
  },
  {
    name: 'mark-of-a-held-row-not-raised',
    breaks: 'R8: the marks of the rows that an operation holds are raised as well',
    file: 'runtime/work.ts',
    find: 'await driver.fence(other, other.fence + above)',
    replace: 'void other',
    tests: [RACES],
  },
  {
    name: 'full-mailbox-takes-more',
    breaks: 'R9: a full mailbox drops the doorbell',
    file: 'runtime/mailbox.ts',
    find: 'this.#keys.size >= this.capacity &&',
    replace: 'this.#keys.size >= 1_000_000 &&',
    tests: ['test/faults/mailbox.test.ts'],
  },
  {
    name: 'doorbell-before-the-wait-unheard',
    breaks: 'a node that asks while a doorbell lies there is woken',
    file: 'runtime/mailbox.ts',
    find: 'if (this.#keys.size > 0) this.#wakeNext()',
    replace: '',
    tests: [MAILBOX],
  },
  {
    name: 'wakes-one-that-can-not-take',
    breaks: 'a node that can’t take a doorbell leaves it to the next one',
    file: 'runtime/mailbox.ts',
    find: 'if (wake()) return',
    replace: 'if (wake() || this.capacity > 0) return',
    tests: [MAILBOX],
  },
]

const journal: readonly Mutation[] = [
  {
    name: 'acknowledged-before-the-sync',
    breaks: 'a transaction is on disk when it resolves',
    file: 'store/json/journal.ts',
    find: 'await this.#file.datasync()',
    replace: 'this.#file.datasync().catch(() => {})',
    tests: [STORE_FAULT, STORE_CRASH],
  },
  {
    name: 'checksum-not-compared',
    breaks: 'bytes that are not what was written are told, never guessed',
    file: 'store/json/journal.ts',
    find: '(body)} ` !== expected) return null',
    replace: '(body)} `.length !== expected.length) return null',
    tests: [STORE_DAMAGE, STORE_CRASH],
  },
  {
    name: 'torn-tail-one-byte-more',
    breaks: 'the torn end of the journal is cut off where the valid lines end',
    file: 'store/json/recovery.ts',
    find: 'last.bytes.subarray(0, last.replayed.end)',
    replace: 'last.bytes.subarray(0, last.replayed.end + 1)',
    tests: [STORE_CRASH],
  },
  {
    name: 'torn-tail-one-byte-less',
    breaks: 'the last valid line is kept whole when the torn end is cut off',
    file: 'store/json/recovery.ts',
    find: 'last.bytes.subarray(0, last.replayed.end)',
    replace: 'last.bytes.subarray(0, last.replayed.end - 1)',
    tests: [STORE_CRASH],
  },
  {
    name: 'folder-of-a-segment-not-synced',
    breaks: 'the name of a new segment is on disk before it is written to',
    file: 'store/json/journal.ts',
    find: '      await fileSystem.syncFolder(folder)\n',
    replace: '',
    tests: [STORE_CRASH],
  },
  {
    name: 'replayed-bytes-left-in-the-page-cache',
    breaks: 'what a reopened store shows is not taken back by a power cut',
    file: 'store/json/recovery.ts',
    find: 'if (last !== null) await rewrite',
    replace: 'if (last !== null && last.replayed.torn !== null) await rewrite',
    tests: [STORE_FAULT, STORE_CRASH],
  },
  {
    name: 'renamed-before-it-is-synced',
    breaks: 'a file has its content before it takes its name',
    file: 'store/json/file_system.ts',
    find: '    await file.sync()\n  } finally',
    replace: '  } finally',
    tests: [STORE_CRASH],
  },
  {
    name: 'shards-not-synced-before-the-manifest',
    breaks: 'the names of shards are on disk before a manifest tells of them',
    file: 'store/json/checkpoint.ts',
    find: '    await fileSystem.syncFolder(folder)\n    work.goOn()',
    replace: '    work.goOn()',
    tests: [STORE_CRASH],
  },
  {
    name: 'manifest-not-synced-before-files-go',
    breaks: 'a manifest is on disk before what it does not need is removed',
    file: 'store/json/checkpoint.ts',
    find: '      await low.write()\n      await fileSystem.syncFolder(folder)\n',
    replace: '      await low.write()\n',
    tests: [STORE_CRASH],
  },
  {
    name: 'refused-batch-not-cut-off',
    breaks: 'a transaction that was refused never comes back',
    file: 'store/json/journal.ts',
    find: '        await this.#file.truncate(this.#size)\n',
    replace: '',
    tests: [STORE_FAULT],
  },
  {
    name: 'missing-commits-unseen',
    breaks: 'every commit follows the one before, so none goes missing unseen',
    file: 'store/json/journal.ts',
    find: 'if (value.offset !== offset + 1)',
    replace: 'if (value.offset <= offset)',
    tests: [STORE_DAMAGE],
  },
  {
    name: 'damage-taken-for-a-torn-end',
    breaks: 'a bad line that valid lines of later batches follow is damage',
    file: 'store/json/journal.ts',
    find: 'if (!torn || batch === undefined || batch > offset)',
    replace: 'if (!torn || batch === undefined)',
    tests: [STORE_DAMAGE],
  },
  {
    name: 'segment-removed-too-early',
    breaks: 'the segment that a manifest begins with is kept',
    file: 'store/json/checkpoint.ts',
    find: '(segment !== null && segment < manifest.segment)',
    replace: '(segment !== null && segment <= manifest.segment)',
    tests: [STORE_DAMAGE, STORE_CRASH],
  },
  {
    name: 'failed-checkpoint-forgets-keys',
    breaks: 'the checkpoint after a failed one covers what that one should have',
    file: 'store/json/json_store.ts',
    find: 'for (const key of this.#dirty) dirty.add(key)\n',
    replace: '',
    tests: [STORE_FAULT, STORE_CRASH],
  },
  {
    name: 'folder-not-owned',
    breaks: 'one process owns a folder',
    file: 'store/json/recovery.ts',
    find: 'await fileSystem.own(folder).catch((cause) => unusable(folder, cause))',
    replace: 'async () => {}',
    tests: ['test/store/lock.test.ts'],
  },
]

const tables: readonly Mutation[] = [
  {
    name: 'feed-tells-twice',
    breaks: 'a watcher hears every commit once and in order',
    file: 'store/feed.ts',
    find: 'for (let offset = from + 1; offset <= this.#offset',
    replace: 'for (let offset = Math.max(1, from); offset <= this.#offset',
    tests: [STORE_CONTRACT],
  },
  {
    name: 'feed-out-of-order',
    breaks: 'the feed tells commits in commit order',
    file: 'store/json/json_store.ts',
    find: 'for (const transaction of this.#batch) {\n      const { changes } = transaction\n',
    replace: 'for (const transaction of this.#batch.toReversed()) {\n      const { changes } = transaction\n',
    tests: [STORE_CONTRACT],
  },
  {
    name: 'version-of-a-pending-row-unchecked',
    breaks: 'of two swaps of one row in one batch the second is judged by the first',
    file: 'store/json/json_store.ts',
    find: '      else if (pending.version !== version) mustWait = true\n',
    replace: '',
    tests: [STORE_CONTRACT],
  },
  {
    name: 'read-of-a-pending-row-answered-early',
    breaks: 'nobody sees what is not durable',
    file: 'store/json/json_store.ts',
    find: 'else if (changes.length > 0 || onPending)',
    replace: 'else if (changes.length > 0 || (onPending && mustWait))',
    tests: [STORE_CRASH],
  },
  {
    name: 'page-repeats-its-last-row',
    breaks: 'pages of a list neither repeat nor lose a row',
    file: 'store/table.ts',
    find: 'key <= after) ||',
    replace: 'key < after) ||',
    tests: ['test/store/table.test.ts', STORE_CONTRACT],
  },
  {
    name: 'rows-read-do-not-bind-in-memory',
    breaks: 'every row that is expected binds, changed or not (no write skew)',
    file: 'store/memory.ts',
    find: '.filter(({ key, version }) => this.#table.version(key) !== version)',
    replace:
      '.filter(({ key, version }) => planned.some((change) => change.key === key) && this.#table.version(key) !== version)',
    tests: [STORE_CONTRACT],
  },
]

export const mutations: readonly Mutation[] = [
  ...claims,
  ...severalRows,
  ...swaps,
  ...lives,
  ...sweeps,
  ...work,
  ...journal,
  ...tables,
]

/** One of each ring that is cheap: these run with every `npm test`. */
export const quick: readonly string[] = [
  'fence-of-finish',
  'request-row-not-written',
  'torn-tail-one-byte-less',
]

import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { ResourceRow } from '../../machines/index.ts'
import {
  backup,
  checkTypes,
  DefinitionError,
  defineResource,
  type OperationShape,
  type ResourceType,
  snapshot,
  type TableShape,
  volume,
} from '../../machines/index.ts'
import { noopDriver } from '../../runtime/drivers/noop.ts'
import { createRuntime } from '../../runtime/index.ts'
import { memoryStore } from '../../store/index.ts'
import { claimantOf, LIFE, limits, serviceRow, statesOf, WORKER } from '../kit/matrix.ts'
import { VirtualEnvironment } from '../kit/virtual_environment.ts'

const operations = {
  create: { from: 'new', via: 'creating', to: 'ready', failed: 'error', cleanup: 'error' },
  change: { from: 'ready', via: 'changing', to: 'previous', failed: 'error', cleanup: 'restore' },
  delete: { from: ['ready', 'error'], via: 'deleting', to: 'gone', failed: 'error', cleanup: 'requeue' },
} as const
const table = {
  kind: 'note',
  data: z.object({ text: z.string() }),
  statuses: ['ready', 'error'],
  operations,
} as const satisfies TableShape

type Operations = { [name: string]: Partial<OperationShape> }

const over = (change: Partial<TableShape>) => defineResource({ ...table, ...change } as TableShape)
/** The table with operations put over its own; `undefined` in one takes the field away. */
const withOperations = (more: Operations) => () => {
  const merged: Record<string, unknown> = { ...operations }
  for (const [name, change] of Object.entries(more))
    merged[name] = { ...(operations as Record<string, object>)[name], ...change }
  return over({ operations: merged as TableShape['operations'] })
}
const instant = { from: 'ready', to: 'ready' } as const
const absent = undefined as never

const faults: { fault: string; define: () => unknown; message: string }[] = [
  {
    fault: 'a kind with a capital letter',
    define: () => over({ kind: 'Note' }),
    message: "resource 'Note': the kind must match",
  },
  {
    fault: 'a reserved kind',
    define: () => over({ kind: 'service' }),
    message: "resource 'service': the kind 'service' is reserved",
  },
  {
    fault: 'a status with a slash',
    define: () => over({ statuses: ['ready', 'error', 'a/b'] }),
    message: "status 'a/b' must match",
  },
  {
    fault: 'a reserved status',
    define: () => over({ statuses: ['ready', 'error', 'gone'] }),
    message: "status 'gone' is reserved",
  },
  {
    fault: "a status named as the protocol's word for attempts used up",
    define: () => over({ statuses: ['ready', 'error', 'attempts_used_up'] }),
    message: "status 'attempts_used_up' is reserved",
  },
  {
    fault: 'a rest status that is also transitional',
    define: () => over({ statuses: ['ready', 'error', 'creating'] }),
    message: "status 'creating' is both a rest status and a transitional one",
  },
  {
    fault: "a held status that is also a 'via'",
    define: () =>
      over({ held: { creating: { from: 'ready', to: 'ready', failed: 'error', cleanup: 'error' } } }),
    message: "status 'creating' is both 'held' and the 'via' of an operation",
  },
  {
    fault: 'a rest status listed twice',
    define: () => over({ statuses: ['ready', 'error', 'error'] }),
    message: 'a rest status is listed twice',
  },
  {
    fault: 'nothing that makes the resource',
    define: () => over({ operations: { change: operations.change } }),
    message: "no operation starts from 'new'",
  },
  {
    fault: 'an operation named with a dot',
    define: withOperations({ 'a.b': instant }),
    message: "operation 'a.b': the name must match",
  },
  {
    fault: "an operation named as one of the charts' events",
    define: withOperations({ cancel: instant }),
    message: "operation 'cancel': the name is reserved",
  },
  {
    fault: "from 'any' without force",
    define: withOperations({ reset: { from: 'any', to: 'ready' } }),
    message: "operation 'reset': from 'any' needs force: true",
  },
  {
    fault: "'new' beside other statuses",
    define: withOperations({ change: { from: ['new', 'ready'] } }),
    message: "operation 'change': 'new' can't stand beside other statuses in 'from'",
  },
  {
    fault: "an unknown status in 'from'",
    define: withOperations({ change: { from: 'redy' } }),
    message: "operation 'change', from: unknown status 'redy'; did you mean 'ready'?",
  },
  {
    fault: 'a start that is not at rest without force',
    define: withOperations({ change: { from: 'creating' } }),
    message: "operation 'change': it starts from 'creating', which is not at rest; that needs force: true",
  },
  {
    fault: "an operation without 'to'",
    define: withOperations({ change: { to: absent } }),
    message: "operation 'change': it can't end: 'to' is missing",
  },
  {
    fault: "an empty list in 'to'",
    define: withOperations({ change: { to: [] } }),
    message: "operation 'change': it can't end: 'to' is an empty list",
  },
  {
    fault: "an unknown status in 'to'",
    define: withOperations({ change: { to: 'done' } }),
    message: "operation 'change', to: unknown status 'done'",
  },
  {
    fault: 'a create that ends in the previous status',
    define: withOperations({ create: { to: 'previous' } }),
    message: "operation 'create': a new resource has no previous status to end in",
  },
  {
    fault: "a create without 'via'",
    define: withOperations({ create: { via: absent, failed: absent, cleanup: absent } }),
    message: "operation 'create': an operation from 'new' needs 'via'",
  },
  {
    fault: "an instant operation with 'failed'",
    define: withOperations({ touch: { ...instant, failed: 'error' } }),
    message: "operation 'touch': without 'via' it is instant, so 'failed' and 'cleanup' have no meaning",
  },
  {
    fault: 'an instant operation that holds another resource',
    define: withOperations({ touch: { ...instant, holds: { page: { as: 'held', id: 'page_id' } } } }),
    message: "operation 'touch': an instant operation can't have 'holds'",
  },
  {
    fault: "a list in 'to' of an operation that a driver does",
    define: withOperations({ change: { to: ['ready', 'error'] } }),
    message: "operation 'change': only an instant operation may have a list in 'to'",
  },
  {
    fault: "'choose' on an operation that a driver does",
    define: withOperations({ change: { choose: () => 'ready' } }),
    message: "operation 'change': 'choose' is for an instant operation with a list in 'to'",
  },
  {
    fault: 'an end by code in an unknown status',
    define: withOperations({ change: { ends: { busy: 'lost' } } }),
    message: "operation 'change', ends of 'busy': unknown status 'lost'",
  },
  {
    fault: 'an operation that moves nowhere',
    define: withOperations({ change: { moves: true } }),
    message: "operation 'change': 'moves' needs 'at'",
  },
  {
    fault: 'an operation that nothing begins',
    define: withOperations({ change: { from: [] } }),
    message: "operation 'change': 'from' is empty, so nothing could ever begin it",
  },
  {
    fault: 'an operation that follows one without a driver',
    define: withOperations({ touch: instant, change: { follows: 'touch' } }),
    message: "operation 'change': it follows 'touch', which is no operation with 'via'",
  },
  {
    fault: "an operation without 'failed'",
    define: withOperations({ change: { failed: absent } }),
    message: "operation 'change': 'failed' is missing",
  },
  {
    fault: "an operation without 'cleanup'",
    define: withOperations({ change: { cleanup: absent } }),
    message: "operation 'change': 'cleanup' is missing",
  },
  {
    fault: "an unknown status in 'failed'",
    define: withOperations({ change: { failed: 'eror' } }),
    message: "operation 'change', failed: unknown status 'eror'; did you mean 'error'?",
  },
  {
    fault: 'a create that fails into the previous status',
    define: withOperations({ create: { failed: 'previous' } }),
    message: "operation 'create', failed: unknown status 'previous'",
  },
  {
    fault: "an unknown policy in 'cleanup'",
    define: withOperations({ change: { cleanup: 'requeu' } }),
    message: "operation 'change', cleanup: unknown status 'requeu'; did you mean 'requeue'?",
  },
  {
    fault: "a create with cleanup 'restore'",
    define: withOperations({ create: { cleanup: 'restore' } }),
    message: "operation 'create': cleanup 'restore' needs a previous status",
  },
  {
    fault: "cleanup 'gone' of an operation that neither makes nor removes",
    define: withOperations({ change: { cleanup: 'gone' } }),
    message: "operation 'change': cleanup 'gone' is for an operation from 'new'",
  },
  {
    fault: 'a force operation that ends in the previous status',
    define: withOperations({ change: { from: 'any', force: true } }),
    message:
      "operation 'change': a force operation may interrupt a create, so it can't end in the previous status",
  },
  {
    fault: 'an unknown guard',
    define: withOperations({ change: { guards: ['isLong'] } }),
    message: "operation 'change': unknown guard 'isLong'",
  },
  {
    fault: 'a guard that only every object has',
    define: () =>
      over({
        guards: {},
        operations: { ...operations, change: { ...operations.change, guards: ['toString'] } },
      }),
    message: "operation 'change': unknown guard 'toString'",
  },
  {
    fault: "a guard named as one of the protocol's",
    define: () => over({ guards: { isClaimHolder: () => true } }),
    message: "guard 'isClaimHolder' is the protocol's own",
  },
  {
    fault: 'a hold from an unknown status',
    define: () =>
      over({ held: { copying: { from: 'reedy', to: 'ready', failed: 'error', cleanup: 'error' } } }),
    message: "held status 'copying': unknown status 'reedy'; did you mean 'ready'?",
  },
  {
    fault: 'a hold that ends in an unknown status',
    define: () =>
      over({ held: { copying: { from: 'ready', to: 'lost', failed: 'error', cleanup: 'error' } } }),
    message: "held status 'copying': unknown status 'lost'",
  },
  {
    fault: 'a hold with an unknown cleanup',
    define: () =>
      over({ held: { copying: { from: 'ready', to: 'ready', failed: 'error', cleanup: 'requeue' } } }),
    message: "held status 'copying': unknown status 'requeue'",
  },
  {
    fault: 'a status that nothing leads to',
    define: () => over({ statuses: ['ready', 'error', 'lost'] }),
    message: "status 'lost' is unreachable: no operation ends in it",
  },
  {
    fault: 'a cleanup to a status that no operation leaves',
    define: () =>
      over({
        statuses: ['ready', 'error', 'broken'],
        operations: { ...operations, change: { ...operations.change, cleanup: 'broken' } },
      }),
    message: "operation 'change' may end in 'broken', which no operation leaves",
  },
]

describe('A table with a mistake is refused at definition time', () => {
  test.each(faults)('$fault', ({ define, message }) => {
    expect(define).toThrow(DefinitionError)
    expect(define).toThrow(message)
  })

  test('every fault carries the code bad_definition', () => {
    for (const { define } of faults) {
      try {
        define()
      } catch (error) {
        expect(error).toMatchObject({ code: 'bad_definition', name: 'DefinitionError' })
      }
    }
  })

  test('the same table without the mistake is taken', () => {
    expect(defineResource(table).statuses).toEqual({
      rest: ['ready', 'error'],
      transitional: ['creating', 'changing', 'deleting'],
      held: [],
      all: ['new', 'creating', 'changing', 'deleting', 'ready', 'error', 'gone'],
    })
  })
})

describe('Types that do not fit together are refused before anything starts', () => {
  const note = defineResource(table)
  test('a kind given twice', () => {
    expect(() => checkTypes([note, note])).toThrow("resource 'note' is given twice")
  })

  test('a parent that is not there', () => {
    expect(() => checkTypes([over({ parent: { kind: 'page', id: 'page_id' } })])).toThrow(
      "resource 'note': its parent 'page' is not among the resources given",
    )
    expect(() => checkTypes([snapshot])).toThrow("its parent 'volume' is not among")
  })

  test('a held kind whose name is almost that of one given', () => {
    const holder = withOperations({ change: { holds: { volum: { as: 'backing-up', id: 'volume_id' } } } })
    expect(() => checkTypes([holder(), volume])).toThrow(
      "operation 'change' holds 'volum', which is not among the resources given; did you mean 'volume'?",
    )
  })

  test('a used kind in a status that it does not rest in', () => {
    const user = withOperations({ change: { uses: { volume: { id: 'volume_id', from: ['creating'] } } } })
    expect(() => checkTypes([user(), volume])).toThrow(
      "operation 'change' uses 'volume' in 'creating', which is no rest status of it",
    )
  })

  test('a kind that is not given takes no part', () => {
    expect([...checkTypes([backup]).keys()]).toEqual(['backup'])
  })

  test('a held status that the other table does not list', () => {
    const holder = withOperations({ change: { holds: { volume: { as: 'backing-upp', id: 'volume_id' } } } })
    expect(() => checkTypes([holder(), volume])).toThrow(
      "resource 'note': operation 'change' holds 'volume' as 'backing-upp', which its table does not list under 'held'; did you mean 'backing-up'?",
    )
  })

  test('the built-in ones fit', () => {
    expect([...checkTypes([volume, snapshot, backup]).keys()]).toEqual(['volume', 'snapshot', 'backup'])
  })
})

describe('A status may have any name that is not reserved', () => {
  // 'failed' is what many would call it, and it is a word of the protocol as well.
  const failing = over({
    statuses: ['ready', 'failed', 'dirty'],
    operations: {
      create: { from: 'new', via: 'creating', to: 'ready', failed: 'failed', cleanup: 'failed' },
      change: { from: 'ready', via: 'changing', to: 'ready', failed: 'dirty', cleanup: 'failed' },
      delete: {
        from: ['ready', 'failed', 'dirty'],
        via: 'deleting',
        to: 'gone',
        failed: 'failed',
        cleanup: 'requeue',
      },
    },
  })

  test("a cleanup to a status called 'failed' ends there, and is not taken for attempts used up", () => {
    expect(cleanedAtBackend(failing, 'change', 'ready')).toMatchObject({
      status: 'failed',
      error: { code: 'interrupted' },
    })
    expect(cleanedAtBackend(failing, 'create', null)).toMatchObject({
      status: 'failed',
      error: { code: 'interrupted' },
    })
  })
})

/** The row after its worker went down and its cleanup was claimed and done. */
function cleanedAtBackend(type: ResourceType, operation: string, previous_status: string | null) {
  const { stepper } = type
  const claimant = claimantOf(serviceRow())
  const at = 1
  const state = statesOf(type).find(
    ({ name, path }) =>
      path.endsWith('.working') && name.includes(`, ${operation}`) && !name.includes('last'),
  )!
  const claimed = { ...state.context, previous_status } as ResourceRow
  const cleanup = {
    type: 'cleanup',
    worker: WORKER,
    incarnation: LIFE,
    at_backend: true,
    reason: '',
    limits,
    at,
  }
  const queued = stepper.step({ path: state.path, context: claimed }, cleanup)!
  const cleaning = stepper.step(queued, { type: 'claim', claimant, at })!
  const { fence } = cleaning.context as ResourceRow
  return stepper.step(cleaning, { type: 'cleanup.done', claimant, fence, changes: {}, at })!.context
}

describe("A caller's mistake does not compile", () => {
  const start = async () => {
    const environment = new VirtualEnvironment()
    const starting = createRuntime({
      store: memoryStore(),
      resources: [volume, snapshot, backup],
      environment,
      nodes: [{ host: 'h1', backend: 'file', driver: noopDriver() }],
    })
    return environment.until(starting)
  }
  type Started = Awaited<ReturnType<typeof start>>

  test('an operation that the table does not have is not on a handle', () => {
    const check = (runtime: Started) => {
      const handle = runtime.volume('v1')
      // @ts-expect-error unknown operation
      void handle.grow({ size: 2 })
      // @ts-expect-error a create is on the kind's door, not on a handle
      void handle.create({ name: 'a', size: 1 })
      // @ts-expect-error a snapshot can't be extended
      void runtime.snapshot('s1').extend({ size: 2 })
      // @ts-expect-error no such kind
      void runtime.volumes
      // @ts-expect-error a handle's operation is not on the kind's door
      void runtime.volume.extend
    }
    expectTypeOf(check).toBeFunction()
  })

  test('an input of the wrong type is not taken', () => {
    const check = (runtime: Started) => {
      // @ts-expect-error the size is a number
      void runtime.volume('v1').extend({ size: '2' })
      // @ts-expect-error the size is needed
      void runtime.volume('v1').extend({})
      // @ts-expect-error an input is needed
      void runtime.volume('v1').extend()
      // @ts-expect-error a name is needed
      void runtime.volume.create({ size: 1 })
      // @ts-expect-error one of the statuses of the schema
      void runtime.volume('v1').reset_status({ status: 'gone' })
      // @ts-expect-error the data has no owner
      void runtime.volume.create({ name: 'a', size: 1, owner: 'me' })
      // What is right compiles, defaults left out.
      void runtime.volume('v1').attach({ host: 'vm1', device: '/dev/vdb' })
      void runtime.volume('v1').delete()
    }
    expectTypeOf(check).toBeFunction()
  })

  test('a row has the data of its definition', () => {
    type Row = NonNullable<Awaited<ReturnType<Started['volume']['get']>>>
    expectTypeOf<Row['data']['size']>().toEqualTypeOf<number>()
    expectTypeOf<Row['kind']>().toEqualTypeOf<'volume'>()
    expectTypeOf<Started['backup']['create']>().parameter(0).toHaveProperty('volume_id')
  })

  test('what does not compile is not there at run time either', async () => {
    const runtime = await start()
    const handle = runtime.volume('v1') as unknown as Record<string, unknown>
    expect(handle.create).toBeUndefined()
    expect(handle.grow).toBeUndefined()
    expect(Object.keys(handle).sort()).toEqual(
      [...Object.keys(volume.table.operations).filter((name) => name !== 'create'), 'get', 'cancel'].sort(),
    )
    await runtime.stop()
  })
})

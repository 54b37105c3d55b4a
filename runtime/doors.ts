// The typed doors, a kind each, over the untyped runtime: `runtime.volume.create(...)`,
// `runtime.volume(id).extend(...)`. They add names and types, nothing else.

import type { CreateNames, DataOf, InputOf, ResourceType } from '../machines/definition.ts'
import type { ResourceRow } from '../machines/row.ts'
import type { TableShape } from '../machines/table.ts'
import type { AcceptOptions } from './accept.ts'
import type { Answer, Listed, ListOptions, Runtime } from './api.ts'

/** A resource row whose data has the shape of its definition. */
export type RowOf<T extends TableShape> = Omit<ResourceRow, 'data' | 'kind'> & {
  readonly kind: T['kind']
  readonly data: Stored<DataOf<T>>
}

/** As JSON keeps it: a field is there or not, never undefined. */
type Stored<D> = { readonly [K in keyof D]: Exclude<D[K], undefined> }

/** An input in which nothing must be given may be left out. */
type Call<I, Row> = I extends object
  ? Record<never, never> extends I
    ? (input?: I, options?: AcceptOptions) => Promise<Answer<Row>>
    : (input: I, options?: AcceptOptions) => Promise<Answer<Row>>
  : (input?: I, options?: AcceptOptions) => Promise<Answer<Row>>

/** One resource: its operations by name. */
export type Handle<T extends TableShape> = {
  readonly [N in Exclude<keyof T['operations'], CreateNames<T>>]: Call<InputOf<T, N>, RowOf<T>>
} & {
  get(): Promise<RowOf<T> | undefined>
  /** Queued: back to where it was. Working: the driver is aborted, its end is `cancelled` unless it was faster. */
  cancel(): Promise<Answer<RowOf<T>>>
}

/** One kind: makes, finds and lists its resources; called with an id it gives the handle. */
export type KindDoor<T extends TableShape> = ((id: string) => Handle<T>) & {
  readonly [N in CreateNames<T> & string]: Call<InputOf<T, N>, RowOf<T>>
} & {
  get(id: string): Promise<RowOf<T> | undefined>
  list(options?: ListOptions): Promise<Listed<RowOf<T>>>
  watch(listener: (row: RowOf<T>) => void): () => void
}

export type Doors<Types extends readonly ResourceType[]> = {
  readonly [T in Types[number] as T['kind']]: KindDoor<T['table']>
}

/** The typed doors, a kind each, over the untyped runtime. */
export function withDoors(runtime: Runtime): Runtime {
  for (const { kind, table } of runtime.kinds) {
    const handle = (id: string) => {
      const methods: Record<string, unknown> = {
        get: () => runtime.get(kind, id),
        cancel: () => runtime.cancel(kind, id),
      }
      for (const [name, operation] of Object.entries(table.operations))
        if (operation.from !== 'new')
          methods[name] = (input?: unknown, options?: AcceptOptions) =>
            runtime.accept(kind, id, name, input, options)
      return methods
    }
    const door = Object.assign(handle, {
      get: (id: string) => runtime.get(kind, id),
      list: (options?: ListOptions) => runtime.list(kind, options),
      watch: (listener: (row: ResourceRow) => void) =>
        runtime.watch((event) => {
          if (event.type === 'change' && event.row?.kind === kind)
            listener(event.row as unknown as ResourceRow)
        }),
    })
    for (const [name, operation] of Object.entries(table.operations))
      if (operation.from === 'new')
        Object.assign(door, {
          [name]: (input?: unknown, options?: AcceptOptions) =>
            runtime.accept(kind, null, name, input, options),
        })
    Object.defineProperty(runtime, kind, { value: door, enumerable: true })
  }
  return runtime
}

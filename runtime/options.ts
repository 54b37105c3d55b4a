// What createRuntime is given, and where the testing kit reaches in. Types only.

import type { AnyStateMachine } from 'xstate'
import type { ResourceType } from '../machines/definition.ts'
import type { Store, StoreSource } from '../store/store.ts'
import type { Environment } from './environment.ts'
import type { Log } from './log.ts'
import type { Mailbox } from './mailbox.ts'
import type { NodeConfig } from './node.ts'
import type { PlacementOptions } from './placement_options.ts'
import type { Settings } from './settings.ts'

export interface RuntimeOptions<Types extends readonly ResourceType[]> {
  readonly store: StoreSource
  readonly resources: Types
  readonly nodes: readonly NodeConfig[]
  readonly settings?: Partial<Settings>
  /** Where new resources go: filters, weighers and what each type asks of a cluster. */
  readonly placement?: PlacementOptions
  /**
   * Called when a cluster is renamed, before any of its rows has the new name: for what a backend keeps under the
   * name. Idempotent: it is called again after a crash. While it rejects, the renaming waits.
   */
  readonly renamed?: (from: string, to: string) => Promise<void>
  readonly environment?: Environment
  /** Where the runtime tells what people may want to know; nowhere by default. */
  readonly log?: Log
}

/** Places where the testing kit reaches in. Not part of the public API. */
export interface Seams {
  readonly charts?: {
    readonly node?: AnyStateMachine
    readonly scheduler?: AnyStateMachine
    readonly supervisor?: AnyStateMachine
  }
  /** The store as one actor sees it: `api`, `scheduler 1`, `renamer`, or a node's `host@backend`. */
  readonly storeFor?: (actor: string, store: Store) => Store
  readonly mailboxFor?: (topic: string, capacity: number) => Mailbox
}

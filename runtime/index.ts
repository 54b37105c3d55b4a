// The embedding: createRuntime and what it takes and gives.

export { backup } from '../machines/backup.ts'
export { defineResource, type ResourceType } from '../machines/definition.ts'
export { DefinitionError } from '../machines/error.ts'
export {
  type ClusterFilter,
  type ClusterView,
  type ClusterWeigher,
  freeCapacity,
  type Requirement,
  type Requirements,
  type Wanted,
  type WeighedBy,
} from '../machines/placement.ts'
export type { QuotaRow as Quota } from '../machines/quota.ts'
export type * from '../machines/row.ts'
export { snapshot } from '../machines/snapshot.ts'
export { volume } from '../machines/volume.ts'
export { StoreError } from '../store/error.ts'
export { type JsonStoreOptions, jsonStore } from '../store/json/json_store.ts'
export { memoryStore } from '../store/memory.ts'
export type { AcceptOptions, Refusal } from './accept.ts'
export type {
  Acceptance,
  AdminAnswer,
  Administration,
  Answer,
  CleanupFilter,
  CleanupReport,
  ClusterStatus,
  Listed,
  ListOptions,
  NodeView,
  Renaming,
  Runtime,
  RuntimeEvent,
  SettledOf,
  Stuck,
} from './api.ts'
export type { Doors, Handle, KindDoor, RowOf } from './doors.ts'
export {
  type Driver,
  type DriverContext,
  DriverError,
  type DriverMethod,
  type DriverSetup,
  type Exported,
} from './driver.ts'
export { fileDriver } from './drivers/file.ts'
export { noopDriver } from './drivers/noop.ts'
export { qemuDriver } from './drivers/qemu.ts'
export { type Environment, realEnvironment, type Timer } from './environment.ts'
export { type Issue, RekindleError, type RekindleErrorCode } from './error.ts'
export type { Log, LogEntry, LogFields, LogLevel } from './log.ts'
export {
  type Labels,
  MEASURES,
  type Measured,
  type MeasureName,
  type Sample,
} from './measures.ts'
export {
  type KindMigration,
  type MigrateOptions,
  type MigrationProgress,
  type MigrationReport,
  migrateStore,
} from './migration.ts'
export type { NodeConfig, Probe } from './node.ts'
export type { RuntimeOptions } from './options.ts'
export type { PlacementOptions, TypeSpecs } from './placement_options.ts'
export type { QuotaLimits } from './quota.ts'
export { createRuntime } from './runtime.ts'
export { defaultSettings, type Settings } from './settings.ts'

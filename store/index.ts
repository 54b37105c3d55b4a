// Everything that remembers: the Store contract and its implementations.

export { StoreError, type StoreErrorCode } from './error.ts'
export { type FileSystem, nodeFileSystem, type OpenFile } from './json/file_system.ts'
export { type JsonStoreOptions, jsonStore } from './json/json_store.ts'
export { memoryStore } from './memory.ts'
export type * from './store.ts'
export { keyOf } from './store.ts'

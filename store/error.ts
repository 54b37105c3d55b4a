// Errors of the store ring: one class, a stable `code` from one table. Conflicts are values, not errors.

export type StoreErrorCode =
  /** The outcome of a write is unknown, or the store was lost or closed before the call. Reopen. */
  | 'store_lost'
  /** Nothing was written (disk full, read-only, permission); the store goes on. */
  | 'store_refused'
  /** Another living process owns the folder. */
  | 'store_locked'
  /** Bytes on disk are not what was written there. Nothing was overwritten. */
  | 'store_damaged'
  /** The folder was written by a newer format, is not a folder, or can't be used. */
  | 'store_unusable'
  /** A watch from an offset that is no longer kept. */
  | 'offset_too_old'

export class StoreError extends Error {
  readonly code: StoreErrorCode
  constructor(code: StoreErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'StoreError'
    this.code = code
  }
}

// What can go wrong at a folder, worded for the row's error. Codes are stable; messages name the file.

import { DriverError } from '../../driver.ts'

export type FileDriverErrorCode =
  /** The id or kind could not be a file's name inside the folder. */
  | 'bad_id'
  /** A size that is not a positive number of GiB. */
  | 'bad_size'
  /** A newer claim raised the mark: this one is over. */
  | 'fenced'
  /** What the operation reads or changes is not there. */
  | 'missing'
  /** A backup is not what was written: the chunk is named. Nothing was restored. */
  | 'backup_damaged'
  /** The backup holds more than its target can. */
  | 'backup_too_large'
  /** What a volume is made from is larger than the volume, or a snapshot is not of its volume's size. */
  | 'size_differs'
  /** A backup that can't be the parent of this one. */
  | 'bad_parent'
  /** A delete: someone of this process reads it. */
  | 'busy'
  /** A volume can't be made here, another backend may do. */
  | 'not_here'
  /** A migration's source and target are one folder. */
  | 'same_place'
  /** What was copied by a migration is not what its source has. Nothing was put in place. */
  | 'checksum_mismatch'
  /** Disk or quota full. */
  | 'no_space'
  /** The folder can't be made, listed, written or synced. */
  | 'backend_unusable'
  /** Any other failure of the file system; see the cause. */
  | 'driver_failed'

export function fail(code: FileDriverErrorCode, message: string, cause?: unknown): DriverError {
  return new DriverError(code, message, cause === undefined ? undefined : { cause })
}

/** Whether `error` is the file system's answer with one of these codes, for example ENOENT. */
export function isErrno(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  return typeof code === 'string' && codes.includes(code)
}

/** An answer of the file system in this driver's words; everything else (an abort, a bug) as it is. */
export function worded(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || error instanceof DriverError) return error
  if ((error as NodeJS.ErrnoException).syscall === undefined) return error
  const full = isErrno(error, 'ENOSPC', 'EDQUOT')
  return fail(full ? 'no_space' : 'driver_failed', `${doing}: ${error.message}`, error)
}

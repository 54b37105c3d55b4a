// The times and limits of a runtime, with their defaults. A combination that can't keep the protocol's
// promises is refused at start, all faults in one report.

import type { Limits } from '../machines/resource.ts'
import { RekindleError } from './error.ts'

export interface Settings {
  /** How often a node beats. */
  readonly heartbeat_ms: number
  /** A node without a successful beat for so long fences itself (rule R8). */
  readonly fence_after_ms: number
  /** A node whose beat stands still for so long is declared down. */
  readonly down_after_ms: number
  /** How often a scheduler sweeps. */
  readonly sweep_ms: number
  readonly schedulers: number
  /** Operations that a node drives at once. */
  readonly concurrency: number
  /** Claims of one operation before it ends in its failed status (rule R15). */
  readonly attempts: number
  /** Tries of one cleanup before its resource ends in its failed status (rule R14). */
  readonly cleanups: number
  /** How long a driver may take for an operation, unless its table says otherwise. */
  readonly operation_timeout_ms: number
  /** How long an aborted call may take to settle before the mark is raised over it. */
  readonly abort_grace_ms: number
  /** How often progress reaches the row. */
  readonly progress_ms: number
  /** Doorbells that a mailbox holds; more are dropped and rung again by the sweep (rule R9). */
  readonly mailbox: number
  /** A node is started again at most so many times within a period. */
  readonly restarts: number
  readonly restarts_within_ms: number
  /** How long a resource stays as `gone`. */
  readonly keep_gone_ms: number
  /** How long a request id is kept after its operation settled. */
  readonly keep_requests_ms: number
}

export const defaultSettings: Settings = {
  heartbeat_ms: 2_000,
  fence_after_ms: 5_000,
  down_after_ms: 8_000,
  sweep_ms: 1_000,
  schedulers: 2,
  concurrency: 64,
  attempts: 3,
  cleanups: 5,
  operation_timeout_ms: 3_600_000,
  abort_grace_ms: 5_000,
  progress_ms: 3_000,
  mailbox: 10_000,
  restarts: 5,
  restarts_within_ms: 60_000,
  keep_gone_ms: 3_600_000,
  keep_requests_ms: 86_400_000,
}

/** The defaults with these over them. Throws `bad_settings` naming every value that can't work. */
export function settingsFrom(given: Partial<Settings>): Settings {
  const settings = { ...defaultSettings, ...given }
  const faults: { path: string; message: string }[] = []
  const fault = (path: string, message: string) => faults.push({ path, message })
  for (const [name, value] of Object.entries(settings)) {
    if (!(name in defaultSettings)) fault(name, 'is not a setting')
    else if (!Number.isInteger(value) || value < 1)
      fault(name, `is ${String(value)}; a whole number of at least 1 is needed`)
  }
  const { heartbeat_ms, fence_after_ms, down_after_ms, sweep_ms } = settings
  if (fence_after_ms < 2 * heartbeat_ms)
    fault(
      'fence_after_ms',
      `is ${fence_after_ms}; one lost beat must not fence, so it needs at least twice heartbeat_ms (${heartbeat_ms})`,
    )
  if (fence_after_ms + heartbeat_ms / 4 > 0.75 * down_after_ms)
    fault(
      'fence_after_ms',
      `is ${fence_after_ms}; a node must stop well before others declare it down: fence_after_ms + heartbeat_ms / 4 may be at most three quarters of down_after_ms (${down_after_ms})`,
    )
  if (sweep_ms > down_after_ms / 4)
    fault('sweep_ms', `is ${sweep_ms}; at least four sweeps must fit into down_after_ms (${down_after_ms})`)
  if (faults.length > 0)
    throw new RekindleError(
      'bad_settings',
      `these settings can't work: ${faults.map(({ path, message }) => `${path} ${message}`).join('; ')}`,
      { issues: faults },
    )
  return settings
}

export function limitsOf({ attempts, cleanups }: Settings): Limits {
  return { attempts, cleanups }
}

// migrate: what a new version of a definition changes in a data folder, before it does, or apart from a start of
// serve, which does the same at its start. The runtime judges and writes; this asks and tells.

import { join } from 'node:path'
import { jsonStore } from '../../store/index.ts'
import {
  type KindMigration,
  type MigrationReport,
  migrateStore,
  RekindleError,
  realEnvironment,
  StoreError,
} from '../index.ts'
import { EXIT, Exit } from './exit.ts'
import { print, printJson, tableOf } from './output.ts'
import { ProgressLine } from './progress_line.ts'
import { planFrom, type ServeFlags } from './serve_plan.ts'

export interface MigrateFlags extends Pick<ServeFlags, 'config' | 'data' | 'definitions'> {
  readonly dryRun?: true
  readonly json?: true
}

export async function migrate({ dryRun, json, ...flags }: MigrateFlags): Promise<void> {
  const environment = realEnvironment()
  const { data, types } = await planFrom(flags, environment)
  const line = new ProgressLine('migrate')
  let report: MigrationReport
  try {
    report = await migrateStore(jsonStore(join(data, 'store')), types, {
      dry_run: dryRun === true,
      environment,
      onProgress: ({ kind, done, of }) => {
        if (done === of) line.say(`${done} of ${of} rows of ${kind}`)
        else line.flicker(`${done} of ${of} rows of ${kind}`)
      },
    })
  } catch (error) {
    throw worded(error, data)
  } finally {
    line.end()
  }
  const faults = report.kinds.reduce((sum, kind) => sum + kind.faults, 0)
  process.exitCode = faults > 0 ? EXIT.failed : EXIT.done
  if (json) return printJson({ ...report, dry_run: dryRun === true })
  for (const text of linesOf(report, dryRun === true)) print(text)
}

function worded(error: unknown, data: string): unknown {
  if (error instanceof StoreError)
    return new Exit(error.code === 'store_locked' ? EXIT.refused : EXIT.failed, `${data}: ${error.message}`)
  if (error instanceof RekindleError)
    return new Exit(EXIT.failed, error.message, { code: error.code, issues: error.issues })
  return error
}

function linesOf({ kinds, faults }: MigrationReport, isDry: boolean): string[] {
  if (kinds.length === 0) return ['nothing is to migrate: every row is of the version given']
  const sum = kinds.reduce((all, kind) => all + kind.faults, 0)
  return [
    ...kinds.flatMap(changesOf),
    ...faults.map(
      ({ key, field, message }) => `can't  ${key}${field === '' ? '' : `, ${field}`}: ${message}`,
    ),
    ...(sum > faults.length ? [`can't  ${sum - faults.length} more`] : []),
    sum > 0
      ? `${sum} rows can't be migrated; nothing ${isDry ? 'would be' : 'was'} written`
      : isDry
        ? 'nothing was written: this was a dry run'
        : 'done',
  ]
}

function changesOf(kind: KindMigration): string[] {
  const { from, to, rows, statuses, fields, going_on, ended, examples } = kind
  const versions = Object.entries(from).map(([version, count]) => `${count} of version ${version}`)
  const changes = [
    ...Object.entries(statuses).map(([change, count]) => ['status', change, String(count)]),
    ...Object.entries(fields).flatMap(([sort, named]) =>
      Object.entries(named).map(([field, count]) => [`data, ${sort}`, field, String(count)]),
    ),
    ...(going_on > 0 ? [['operations', 'go on', String(going_on)]] : []),
    ...(ended > 0 ? [['operations', 'end with it', String(ended)]] : []),
  ]
  return [
    `${kind.kind}: ${rows} rows to version ${to} (${versions.join(', ') || 'none older'})`,
    ...(changes.length === 0
      ? []
      : tableOf(['WHAT', 'CHANGE', 'ROWS'], changes)
          .split('\n')
          .map((text) => `  ${text}`)),
    ...(examples.length === 0 ? [] : [`  for example ${examples.join(', ')}`]),
  ]
}

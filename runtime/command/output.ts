// What people and scripts read: stdout has the answer (one JSON value with --json, else tables), stderr
// what happens meanwhile.

/** Names come from anywhere: no control character of theirs reaches a terminal. */
export function plain(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?')
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

export function tell(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Columns under their heads; the last one may be as long as it likes. */
export function tableOf(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heads, ...rows.map((row) => row.map(plain))]
  const widths = heads.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => (column === line.length - 1 ? cell : cell.padEnd(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const day = new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium' })
const hour = new Intl.DateTimeFormat('sv-SE', { timeStyle: 'medium' })

export function dayAndTime(at: number): string {
  return day.format(at)
}

export function timeOfDay(at: number): string {
  return hour.format(at)
}

/** A row's data or an input in one line: `name=data size=1`. */
export function fieldsOf(data: { readonly [name: string]: unknown }): string {
  return Object.entries(data)
    .map(([name, value]) => `${name}=${shortened(typeof value === 'string' ? value : JSON.stringify(value))}`)
    .join(' ')
}

function shortened(text: string): string {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text
}

/** Who has it: nobody, the queue of its cluster, or a node (rule R17: the incarnation tells which). */
export function whoHas(row: { readonly worker: string | null; readonly incarnation: number | null }): string {
  if (row.worker === null) return ''
  return row.incarnation === null ? `queued at ${row.worker}` : row.worker
}

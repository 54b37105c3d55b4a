// Errors of the machines ring: a mistake in a table, told at definition time.

export class DefinitionError extends Error {
  readonly code = 'bad_definition'
  constructor(message: string) {
    super(message)
    this.name = 'DefinitionError'
  }
}

/** Something that the protocol says can't be. It stops the node that met it, never the process. */
export class BrokenInvariant extends Error {
  constructor(message: string) {
    super(`broken invariant: ${message}`)
    this.name = 'BrokenInvariant'
  }
}

/** The known name nearest to a wrong one, as a hint for an error message; empty where none is near. */
export function nearest(wrong: string, known: Iterable<string>): string {
  let best = ''
  let least = Math.max(2, Math.floor(wrong.length / 3)) + 1
  for (const name of known) {
    const distance = editDistance(wrong.slice(0, 64), name)
    if (distance < least) {
      least = distance
      best = name
    }
  }
  return best === '' ? '' : `; did you mean '${best}'?`
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

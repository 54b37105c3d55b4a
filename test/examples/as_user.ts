// An example as a user writes it: the examples here import the sources, so that no build is needed to check
// them; a user imports the package.

const PACKAGE: Readonly<Record<string, string>> = {
  '../../runtime/index.ts': 'rekindle',
  '../../machines/index.ts': 'rekindle/machines',
  '../../store/index.ts': 'rekindle/store',
  '../kit/index.ts': 'rekindle/testing',
}

/** The same text with the names of the package. Throws where a file is imported that is not public. */
export function asUser(source: string): string {
  return source.replace(/from '(\.[^']*)'/g, (_, path: string) => {
    const name = PACKAGE[path]
    if (name === undefined) throw new Error(`${path} is not public`)
    return `from '${name}'`
  })
}

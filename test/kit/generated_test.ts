// A test that was made and not written: a sentence of what holds, and how to find out. Any test runner takes it.

/**
 * One generated test. `run` rejects with an error that says what was expected and what was found; it may be
 * run again, and beside others.
 *
 * @example
 * for (const { title, run } of tests) test(title, run)
 */
export interface GeneratedTest {
  readonly title: string
  run(): Promise<void>
}

// What a command shows while it waits, on stderr: on a terminal one line that rewrites itself, else a line for
// each change that is worth one. It waits for nothing itself.

import { plain, tell } from './output.ts'

export class ProgressLine {
  readonly #name: string
  readonly #rewrites = process.stderr.isTTY === true
  #last = ''

  constructor(name: string) {
    this.#name = name
  }

  /** A change. Said twice it is told once. */
  say(text: string): void {
    if (text === this.#last) return
    this.#last = text
    const line = plain(`${this.#name}: ${text}`)
    if (this.#rewrites) process.stderr.write(`\r\x1b[2K${line.slice(0, (process.stderr.columns || 80) - 1)}`)
    else tell(line)
  }

  /** What changes all the time (a percentage, seconds): for a terminal alone. */
  flicker(text: string): void {
    if (this.#rewrites) this.say(text)
  }

  end(): void {
    if (this.#rewrites && this.#last !== '') process.stderr.write('\n')
    this.#last = ''
  }
}

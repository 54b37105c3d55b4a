// The door to qemu-img: no shell, formats always named, killed by the signal, its last words in the error.
// It knows nothing of rows. Who calls it passes absolute paths, or names that start like "../", so that no
// argument can be read as an option or as a protocol.

import { execFile } from 'node:child_process'
import { isErrno } from '../file/error.ts'
import { failed } from './error.ts'

/** Every image here is of this format. It is never probed: what a guest wrote could pretend to be another. */
export const FORMAT = 'qcow2'

/** From here on an overlay that is grown reads as zero beyond its backing file. */
const LEAST_VERSION = [5, 1] as const

const INSTALL =
  'install it: apt-get install qemu-utils (Debian, Ubuntu), dnf install qemu-img (Fedora), ' +
  'brew install qemu (macOS)'

export interface QemuImg {
  /** Resolves with what it printed, once it has ended well. `progress` is told fractions where `-p` is given. */
  run(args: readonly string[], given?: RunOptions): Promise<string>
}

export interface RunOptions {
  readonly signal?: AbortSignal | undefined
  /** Told fractions where `-p` is given; when it rejects, qemu-img is killed and `run` rejects with the same. */
  step?(fraction: number): Promise<void>
}

/** What `map` prints can be long: an extent a line. */
const MOST_OUTPUT_BYTES = 1 << 30

/**
 * Runs `command`. When the signal is aborted the process is killed, and the call rejects with the reason
 * only after the process has ended: then nothing of it can write any more.
 */
export function qemuImg(command: string): QemuImg {
  return {
    run: (args, { signal, step } = {}) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted()
        let stepping: Promise<void> | null = null
        let refusal: { readonly error: unknown } | null = null
        const child = execFile(
          command,
          [...args],
          { maxBuffer: MOST_OUTPUT_BYTES },
          async (error, stdout, stderr) => {
            signal?.removeEventListener('abort', kill)
            await stepping
            if (signal?.aborted) reject(signal.reason)
            else if (refusal !== null) reject(refusal.error)
            else if (error) reject(worded(error, command, args, stderr))
            else resolve(stdout)
          },
        )
        const kill = () => void child.kill('SIGKILL')
        signal?.addEventListener('abort', kill)
        if (step === undefined) return
        // One at a time: what comes meanwhile is left out.
        child.stdout?.on('data', (text: string) => {
          const fraction = fractionIn(text)
          if (fraction === null || stepping !== null) return
          stepping = step(fraction)
            .catch((error) => {
              refusal = { error }
              kill()
            })
            .finally(() => {
              stepping = null
            })
        })
      }),
  }
}

/** The last fraction in what `-p` prints, as in `(12.34/100%)`. */
function fractionIn(text: string): number | null {
  const told = [...text.matchAll(/\(([\d.]+)\/100%\)/g)].at(-1)?.[1]
  return told === undefined ? null : Math.min(1, Number(told) / 100)
}

/** Rejects with `no_qemu_img` unless it is there and new enough; resolves with its version. */
export async function checkVersion(tool: QemuImg, command: string, signal?: AbortSignal): Promise<string> {
  const text = await tool.run(['--version'], { signal })
  const [, version, major, minor] = /version ((\d+)\.(\d+)[.\d]*)/.exec(text) ?? []
  if (version === undefined)
    throw failed('no_qemu_img', `${command} does not tell its version, so it is no qemu-img; ${INSTALL}`)
  const [least_major, least_minor] = LEAST_VERSION
  const isOld = Number(major) < least_major || (Number(major) === least_major && Number(minor) < least_minor)
  if (isOld)
    throw failed(
      'no_qemu_img',
      `${command} is ${version}, at least ${LEAST_VERSION.join('.')} is needed; ${INSTALL}`,
    )
  return version
}

function worded(error: Error, command: string, args: readonly string[], stderr: string): Error {
  if (isErrno(error, 'ENOENT', 'EACCES'))
    return failed('no_qemu_img', `${command} can't be run (${error.message}); ${INSTALL}`, error)
  const last = stderr.trim().split('\n').at(-1) || error.message
  const message = `qemu-img ${args[0]}: ${last.replace(/^qemu-img: /, '')}`
  // As the file system would say it: who knows why a file may be gone (a newer claim took it away) says so.
  if (/No such file or directory/.test(stderr))
    return Object.assign(new Error(message, { cause: error }), { code: 'ENOENT', syscall: 'qemu-img' })
  if (/No space left on device|Disk quota exceeded/.test(stderr)) return failed('no_space', message, error)
  if (/Failed to (?:get|lock)|Is another process using the image/.test(stderr))
    return failed('busy', message, error)
  return failed('driver_failed', message, error)
}

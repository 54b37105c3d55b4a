// One process owns a folder. Ownership is something the kernel takes back when the process ends, however it
// ends: pids are reused and file times lie in containers, so no file decides; `owner.pid` only informs.
// Linux: an abstract Unix socket named by the folder's device and inode (it has no file that could stay
// behind). Windows: a named pipe, which ends with its process too. Elsewhere: a loopback port computed from
// device and inode; two folders may share a port, which refuses the second for no reason but never lets two in.
// Not seen: processes in another network namespace (a container with a network of its own) or on another machine.

import { readFile, stat, writeFile } from 'node:fs/promises'
import { createServer, type ListenOptions } from 'node:net'
import { join } from 'node:path'
import { StoreError } from '../error.ts'

/** Resolves to the release. Rejects with `store_locked` while a living process owns the folder, this one included. */
export async function takeFolder(folder: string): Promise<() => Promise<void>> {
  const { dev, ino } = await stat(folder, { bigint: true })
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // Without `exclusive` the workers of node:cluster would share one socket, and each own the folder.
    server.listen({ ...addressOf(dev, ino, process.platform), exclusive: true }, resolve)
  }).catch(async (cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EADDRINUSE')
      throw new StoreError('store_unusable', `can't take ownership of ${folder}: ${cause.message}`, { cause })
    throw new StoreError(
      'store_locked',
      `${folder} is open in ${await ownerOf(folder)}; close it there first`,
    )
  })
  server.removeAllListeners('error')
  server.on('error', () => {})
  // The lock alone keeps no process alive.
  server.unref()
  await writeFile(join(folder, 'owner.pid'), `${process.pid}\n`).catch(() => {})
  return () => new Promise((resolve) => server.close(() => resolve()))
}

export function addressOf(device: bigint, inode: bigint, platform: NodeJS.Platform): ListenOptions {
  const name = `rekindle-store-${device}-${inode}`
  if (platform === 'linux') return { path: `\0${name}` }
  if (platform === 'win32') return { path: `\\\\.\\pipe\\${name}` }
  // Below the ports that systems give out by themselves.
  return { host: '127.0.0.1', port: 20_000 + Number((device * 31n + inode) % 12_000n) }
}

async function ownerOf(folder: string): Promise<string> {
  const pid = await readFile(join(folder, 'owner.pid'), 'utf8').then(Number, () => Number.NaN)
  if (pid === process.pid) return `this process (pid ${pid})`
  return Number.isInteger(pid) ? `process ${pid}` : 'another process'
}

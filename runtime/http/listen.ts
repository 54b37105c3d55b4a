// The socket in front of the door: bound to loopback unless told otherwise, with limits on how long a slow
// or half-open client may hold anything.

import { createServer, type Server, STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { type Environment, realEnvironment } from '../index.ts'
import { json } from './answer.ts'

export interface ListenOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 7878; 0 takes a free one. */
  readonly port?: number
  readonly environment?: Environment
}

export interface Listening {
  readonly url: string
  readonly port: number
  /** Takes no more connections, lets answers under way go out for a moment, then ends all. */
  close(): Promise<void>
}

export const DEFAULT_PORT = 7878
/** How long answers under way may take to leave at a close. */
const GRACE_MS = 300

/** Rejects with the system's error where the port is taken or the address is not this machine's. */
export async function listen(
  fetch: (request: Request) => Promise<Response>,
  { host = '127.0.0.1', port = DEFAULT_PORT, environment = realEnvironment() }: ListenOptions = {},
): Promise<Listening> {
  const server = createServer(
    {
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 2_000,
      maxHeaderSize: 16 * 1024,
    },
    getRequestListener(fetch, {
      overrideGlobalObjects: false,
      // What never became a request: a Host that is none, a URL that can't be read.
      errorHandler: () =>
        json(400, {
          error: { code: 'bad_request', message: 'the Host or URL of the request makes no sense' },
        }),
    }),
  )
  // A socket on which nothing moved for so long is nobody's. Waits are shorter; event streams beat.
  server.timeout = 120_000
  server.maxConnections = 1_024
  server.on('clientError', refuseBytes)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve())
  })
  server.removeAllListeners('error')
  server.on('error', () => {})
  const bound = (server.address() as AddressInfo).port
  const name = host.includes(':') ? `[${host}]` : host
  return { url: `http://${name}:${bound}`, port: bound, close: () => close(server, environment) }
}

/** Bytes that are not HTTP, or come too slowly: an answer in the form of all the others. */
function refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const [status, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'the headers are larger than 16 KiB']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'the request took too long to arrive']
        : [400, 'this is not HTTP']
  const body = `${JSON.stringify({ error: { code: 'bad_request', message } })}\n`
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

function close(server: Server, environment: Environment): Promise<void> {
  return new Promise((resolve) => {
    const limit = environment.timer(GRACE_MS, () => server.closeAllConnections())
    server.close(() => {
      limit.clear()
      resolve()
    })
    server.closeIdleConnections()
  })
}

/** Requests of a stranger without credentials, while the service is under load: see SECURITY.md. */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fault } from './faults.ts'

type Open = () => Socket

const head = (path: string, header: string) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${header}\r\n\r\n`

/** An attack on each replica, for a while; the peers never read, and go at the end. */
const attack =
  (act: (open: Open) => void, lastsMs = 3_000): Fault =>
  async ({ replicas }) => {
    const sockets: Socket[] = []
    for (const { url } of replicas) {
      const { hostname, port } = new URL(url)
      act(() => {
        // The service may end it at any time.
        const socket = connect(Number(port), hostname).on('error', () => undefined)
        socket.pause()
        sockets.push(socket)
        return socket
      })
    }
    await sleep(lastsMs)
    for (const socket of sockets) socket.destroy()
  }

export const ATTACKS: Record<string, Fault> = {
  'stranger: replies that nobody reads': attack((open) => {
    for (const path of ['/docs/json', '/metrics', '/metrics', '/livez']) {
      open().write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(1_857))
    }
  }),
  'stranger: one-byte chunks': attack((open) => {
    for (const path of ['/clerk', '/clerk', '/nowhere']) {
      const socket = open()
      socket.write(head(path, 'Transfer-Encoding: chunked'))
      socket.write('1\r\n[\r\n'.repeat(500_000))
    }
  }),
  'stranger: stalled bodies': attack((open) => {
    const body = Buffer.alloc(1_048_575, '[')
    for (let i = 0; i < 100; i += 1) {
      const socket = open()
      socket.write(head('/clerk', 'Content-Length: 1048576'))
      socket.write(body)
    }
  }),
  'stranger: slow headers': attack((open) => {
    for (let i = 0; i < 500; i += 1) open().write('GET /livez HTTP/1.1\r\nHo')
  }),
  'stranger: forged signatures': attack((open) => {
    const headers = [
      'Content-Length: 1048576',
      'svix-id: msg_1',
      `svix-timestamp: ${Math.floor(Date.now() / 1_000)}`,
      `svix-signature: ${`v1,${'A'.repeat(43)}= `.repeat(20)}`,
    ]
    for (const byte of [0x00, 0x5b, 0xff]) {
      const socket = open()
      socket.write(head('/clerk', headers.join('\r\n')))
      socket.write(Buffer.alloc(1_048_576, byte))
    }
  }),
}

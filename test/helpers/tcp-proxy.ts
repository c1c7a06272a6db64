import { connect, createServer, type Socket } from 'node:net'
import type { Scope } from './own-postgres.ts'

/** A TCP proxy in front of a server, to break the connection to it in the ways that networks do. */
export interface TcpProxy {
  /** The server's URL, by way of the proxy. */
  url: string
  /** Refuses new connections and resets those that are open. */
  cut(): Promise<void>
  /** Passes nothing on any more, and says nothing: as a host that is gone or a process that is stopped. */
  freeze(): void
  /** Passes on what clients say, and nothing that the server answers: as when the answers are lost on the way. */
  mute(): void
  /** Passes on so many bytes more of what clients say, then nothing: as a client that is stopped where it is. */
  stopAfter(bytes: number): void
  /** What clients have said so far, in bytes. */
  sent(): number
  /** Passes everything on again. */
  restore(): Promise<void>
  /** Leads new connections to another server, and resets those that are open: as a name that moves in a failover. */
  leadTo(serverUrl: string): void
}

export async function createTcpProxy(t: Scope, serverUrl: string): Promise<TcpProxy> {
  let target = new URL(serverUrl)
  const sockets = new Set<Socket>()
  let isFrozen = false
  let isMute = false
  let sentBytes = 0
  let stopAt = Infinity
  const proxy = createServer((client) => {
    const server = connect(Number(target.port), target.hostname)
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(from)
      from.on('data', (data) => {
        if (isFrozen || (isMute && from === server)) return
        if (from === server) return void to.write(data)
        const part = data.subarray(0, Math.max(stopAt - sentBytes, 0))
        sentBytes += part.length
        to.write(part)
      })
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        if (!isFrozen) to.destroy()
      })
    }
  })
  const listen = (port: number) => new Promise<void>((done) => proxy.listen(port, '127.0.0.1', done))
  await listen(0)
  const { port } = proxy.address() as { port: number }
  const url = new URL(serverUrl)
  url.host = `127.0.0.1:${port}`

  // libuv cannot reset what is shutting down already, and would leave its handle open.
  function resetAll(): void {
    for (const socket of sockets) socket.writableEnded ? socket.destroy() : socket.resetAndDestroy()
  }

  async function cut(): Promise<void> {
    resetAll()
    if (proxy.listening) await new Promise((done) => proxy.close(done))
  }
  t.teardown(cut)
  return {
    url: url.href,
    cut,
    freeze() {
      isFrozen = true
    },
    mute() {
      isMute = true
    },
    stopAfter(bytes) {
      stopAt = sentBytes + bytes
    },
    sent: () => sentBytes,
    async restore() {
      isFrozen = isMute = false
      stopAt = Infinity
      resetAll()
      if (!proxy.listening) await listen(port)
    },
    leadTo(otherUrl) {
      target = new URL(otherUrl)
      resetAll()
    },
  }
}

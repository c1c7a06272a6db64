/** A gate of TCP between the service and PostgreSQL, which the demo shuts to show a database that is gone. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Gate {
  /** The database's URL, by way of the gate. */
  url: string
  /** Ends every connection, and refuses new ones for so long. Once more while it is shut: from now on. */
  shut(forMs: number): void
  close(): Promise<void>
}

/**
 * Opens a gate in front of the host and port of a URL, by default on a free port of loopback.
 * @param listen another address and port
 */
export async function createGate(databaseUrl: string, { host = '127.0.0.1', port: ownPort = 0 } = {}): Promise<Gate> {
  const target = new URL(databaseUrl)
  const port = Number(target.port || 5432)
  const sockets = new Set<Socket>()
  let shutUntil = 0
  const server = createServer((client) => {
    if (performance.now() < shutUntil) return client.destroy()
    const database = connect(port, target.hostname)
    for (const [from, to] of [
      [client, database],
      [database, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => undefined) // The close that follows says all.
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  })
  server.listen(ownPort, host)
  await once(server, 'listening')
  const url = new URL(databaseUrl)
  url.host = `${host}:${(server.address() as AddressInfo).port}`

  function endAll(): void {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: url.href,
    shut(forMs) {
      shutUntil = performance.now() + forMs
      endAll()
    },
    async close() {
      endAll()
      await new Promise((done) => server.close(done))
    },
  }
}

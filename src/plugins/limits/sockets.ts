/**
 * Limits the cost of connections. By default Node.js serves pipelined requests without a limit, waits forever for a peer that
 * does not read, and refuses new connections once an attacker holds all of them.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from 'node:http'
import type { Socket } from 'node:net'

export interface SocketLimits {
  /** The largest number of connections. Beyond it, the one without a complete request for longest is closed. */
  connections: number
  /** Requests in flight on one connection; one more closes it. */
  requestsInFlight: number
  /** The time limit from the first byte of a request to its last. */
  requestMs: number
  headersMs: number
  /** How long the peer may take to read a reply. */
  replyMs: number
  /** How long a connection stays open if its request was answered before it was complete. */
  lingerMs: number
}

export const SOCKET_LIMITS: Readonly<SocketLimits> = {
  connections: 2_000,
  requestsInFlight: 16,
  requestMs: 15_000,
  headersMs: 10_000,
  replyMs: 30_000,
  lingerMs: 1_000,
}

// Longer than the 60 s of load balancers, which must close idle connections first, or a request could meet a closing one.
const KEEP_ALIVE_MS = 72_000
const SWEEP_MS = 1_000
// Leaves room for new connections while evicted ones close.
const SPARE_CONNECTIONS = 64

interface Connection {
  requests: Set<IncomingMessage>
  unreadSince: number
  /** The request was answered before it was complete. */
  unfinished: { request: IncomingMessage; since: number } | undefined
}

/** Creates a server that enforces these limits on every connection. */
export function createLimitedServer(
  handler: RequestListener,
  options: ServerOptions = {},
  limits: SocketLimits = SOCKET_LIMITS,
): Server {
  // Ordered by their last activity.
  const connections = new Map<Socket, Connection>()
  const server = createServer({
    ...options,
    requestTimeout: limits.requestMs,
    headersTimeout: limits.headersMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: SWEEP_MS,
  })
  server.maxConnections = limits.connections + SPARE_CONNECTIONS

  function drop(socket: Socket): void {
    connections.delete(socket)
    // Unlike `end`, `destroy` frees memory and descriptor even if the peer never reads.
    socket.destroy()
  }

  server.on('connection', (socket) => {
    if (connections.size >= limits.connections) drop(findIdlest(connections) ?? socket)
    if (socket.destroyed) return
    connections.set(socket, { requests: new Set(), unreadSince: Number.POSITIVE_INFINITY, unfinished: undefined })
    socket.once('close', () => connections.delete(socket))
  })

  server.on('request', (request, response) => {
    const { socket } = request
    const connection = connections.get(socket)
    // The parser continues with the bytes it already has, even after the connection was destroyed.
    if (!connection) return
    connection.requests.add(request)
    if (connection.requests.size > limits.requestsInFlight) return drop(socket)
    response.once('close', () => {
      connection.requests.delete(request)
      connection.unreadSince = Number.POSITIVE_INFINITY
      if (!request.complete) connection.unfinished = { request, since: performance.now() }
      if (connections.delete(socket)) connections.set(socket, connection)
    })
    handler(request, response)
  })

  const sweep = setInterval(() => {
    const now = performance.now()
    for (const [socket, connection] of connections) {
      connection.unreadSince =
        socket.writableLength > 0 ? Math.min(connection.unreadSince, now) : Number.POSITIVE_INFINITY
      const { unreadSince, unfinished } = connection
      const isUnfinished = unfinished && !unfinished.request.complete && now - unfinished.since > limits.lingerMs
      if (isUnfinished || now - unreadSince > limits.replyMs) drop(socket)
    }
  }, SWEEP_MS).unref()
  server.once('close', () => clearInterval(sweep))
  return server
}

/** The connection that has been without a complete request for longest. */
function findIdlest(connections: ReadonlyMap<Socket, Connection>): Socket | undefined {
  for (const [socket, { requests }] of connections) {
    if (![...requests].some(({ complete }) => complete)) return socket
  }
  return undefined
}

/** Sends a last text and destroys the socket soon after, whether it was read or not. */
export function endSoon(socket: Socket, text: string, { lingerMs }: SocketLimits = SOCKET_LIMITS): void {
  if (socket.writableEnded) return
  socket.end(text)
  setTimeout(() => socket.destroy(), lingerMs).unref()
}

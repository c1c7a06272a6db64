/**
 * What a connection may cost. Node.js serves pipelined requests without a bound, waits for ever for a peer that does not
 * read, and refuses newcomers once a stranger holds every place; each has a limit here.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from 'node:http'
import type { Socket } from 'node:net'

export interface SocketLimits {
  /** Beyond it, the connection that has waited longest without a whole request makes room. */
  connections: number
  /** Requests that one connection may have in flight; one more closes it. */
  requestsInFlight: number
  /** From the first byte of a request to its last. */
  requestMs: number
  headersMs: number
  /** From a reply that waits to be read to its last byte. */
  replyMs: number
  /** What is left to a connection whose request was answered before it was complete. */
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

// Load balancers keep idle connections for 60 s and must be the first to end them, or a request meets a closing connection.
const KEEP_ALIVE_MS = 72_000
const SWEEP_MS = 1_000
// While evicted connections close, newcomers still find a place.
const SPARE_CONNECTIONS = 64

interface Connection {
  requests: Set<IncomingMessage>
  unreadSince: number
  /** Answered, but not complete. */
  unfinished: { request: IncomingMessage; since: number } | undefined
}

/** A server that holds every connection to these limits. */
export function createLimitedServer(
  handler: RequestListener,
  options: ServerOptions = {},
  limits: SocketLimits = SOCKET_LIMITS,
): Server {
  // In the order in which they were last active.
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
    // Unlike `end`, it frees memory and descriptor even if the peer never reads.
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
    // The parser goes on through the bytes that it has, also after the connection was dropped.
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

/** Sends these last bytes and frees the socket soon after, whether they were read or not. */
export function endSoon(socket: Socket, text: string, { lingerMs }: SocketLimits = SOCKET_LIMITS): void {
  if (socket.writableEnded) return
  socket.end(text)
  setTimeout(() => socket.destroy(), lingerMs).unref()
}

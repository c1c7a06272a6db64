import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { createJwks, type Jwks, type JwksOptions } from '../../src/clerk/jwks.ts'

/** One way to answer a request; it may also never do so. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse) => void

export interface JwksServer {
  issuer: string
  /** May be changed at any time; counts for requests that come after. */
  behave: Behaviour
  /** The path of each request so far. */
  hits: string[]
  /** The most requests that were ever open at once. */
  mostAtOnce: number
  /** Answers nothing until `release`; then, and from then on, the behaviour given. */
  hold(): { arrived: Promise<void>; release(behaviour: Behaviour): void }
}

/** A JWKS endpoint on 127.0.0.1, closed with its connections at the end of the test. */
export async function startJwksServer(t: Test, behaviour: Behaviour): Promise<JwksServer> {
  let open = 0
  const http = createServer((request, response) => {
    server.hits.push(String(request.url))
    open += 1
    server.mostAtOnce = Math.max(server.mostAtOnce, open)
    response.on('close', () => {
      open -= 1
    })
    server.behave(request, response)
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.teardown(() => {
    http.closeAllConnections()
    http.close()
  })
  const server: JwksServer = {
    issuer: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    behave: behaviour,
    hits: [],
    mostAtOnce: 0,
    hold() {
      const arrived = Promise.withResolvers<void>()
      const held: Parameters<Behaviour>[] = []
      server.behave = (...exchange) => {
        held.push(exchange)
        arrived.resolve()
      }
      return {
        arrived: arrived.promise,
        release(next) {
          server.behave = next
          for (const exchange of held) next(...exchange)
        },
      }
    },
  }
  return server
}

/** A key store on that server, closed at the end of the test. Nothing is fetched a second time unless the options say so. */
export function jwksOf(t: Test, server: { issuer: string }, options: Partial<JwksOptions> = {}): Jwks {
  const jwks = createJwks({ issuer: server.issuer, deadlineMs: 5_000, refreshIntervalMs: 600_000, ...options })
  t.teardown(() => jwks.close())
  return jwks
}

/** The same, started, with its first set. */
export async function startedJwksOf(t: Test, server: JwksServer, options: Partial<JwksOptions> = {}): Promise<Jwks> {
  const jwks = jwksOf(t, server, options)
  jwks.start()
  await eventually(() => jwks.status().state === 'ok')
  return jwks
}

/** A usable key: numbers of the right size and shape, which is all that can be checked about a public key. */
export function rsaJwk(kid: string, more: object = {}): object {
  const modulus = randomBytes(256)
  modulus[0] = 0xc5
  modulus[255] = 0x01
  return { kty: 'RSA', use: 'sig', alg: 'RS256', kid, n: modulus.toString('base64url'), e: 'AQAB', ...more }
}

export const send =
  (body: string, status = 200, headers: Record<string, string> = { 'content-type': 'application/json' }): Behaviour =>
  (_request, response) => {
    response.writeHead(status, headers).end(body)
  }

/** A set of these keys; of a string, a key with that kid. */
export const sendKeys = (...keys: unknown[]): Behaviour =>
  send(JSON.stringify({ keys: keys.map((key) => (typeof key === 'string' ? rsaJwk(key) : key)) }))

export const hang: Behaviour = () => {}

/** Valid JSON so far, a byte every 100 ms, for ever. */
export const drip: Behaviour = (_request, response) => {
  const timer = setInterval(() => response.write(' '), 100)
  response.writeHead(200, { 'content-type': 'application/json' }).write(' ')
  response.on('close', () => clearInterval(timer))
}

/** A promise of more, and the end of the connection. */
export const breakOff: Behaviour = (_request, response) => {
  response.writeHead(200, { 'content-length': '1000' }).write('{"keys":[', () => response.destroy())
}

/** For what timers do; the limit is there for the report, not for the speed. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const endsAt = performance.now() + 15_000
  while (!(await condition())) {
    if (performance.now() > endsAt) throw new Error(`never came true: ${condition}`)
    await sleep(2)
  }
}

/** Everything that was logged, as text. */
export function recordLog(): { lines: string[]; log: NonNullable<JwksOptions['log']> } {
  const lines: string[] = []
  const at = (level: string) => (details: object, message: string) => {
    lines.push(`${level} ${message} ${JSON.stringify(details)}`)
  }
  return { lines, log: { info: at('info'), warn: at('warn'), error: at('error') } }
}

/** A clock that is set by hand. Timers use the real one. */
export function stoppedClock(): { now: () => number; advance(ms: number): void } {
  let time = 1_000
  return {
    now: () => time,
    advance(ms) {
      time += ms
    },
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { internalError } from './clerk-error.ts'

/**
 * How an endpoint misbehaves:
 *
 * - `hang`: accepts the request and never answers
 * - `drip`: answers 200 and sends a byte of white space every 20 ms, forever
 * - `error`: 500 with Clerk's error body
 * - `html`: 200 with a web page, like a captive portal or a proxy
 * - `reset`: resets the connection
 * - `empty`: 200 without a body
 * - `{ status, headers?, body? }`: exactly this answer
 * - `{ delayMs }`: the right answer, late
 */
export type Fault =
  | 'hang'
  | 'drip'
  | 'error'
  | 'html'
  | 'reset'
  | 'empty'
  | { status: number; headers?: Record<string, string>; body?: string }
  | { delayMs: number }

/** The active faults; undefined is none. A change applies to later requests. */
export interface Faults {
  /** For both URLs of the JWKS. */
  jwks?: Fault | undefined
  /** For the Backend API, except its JWKS. */
  api?: Fault | undefined
}

const DRIP_INTERVAL_MS = 20

/**
 * Applies a fault in a hook. The request continues afterwards unless a reply was sent or hijacked.
 *
 * @throws ClerkError 500 for `error`
 */
export async function applyFault(fault: Fault | undefined, request: FastifyRequest, reply: FastifyReply) {
  if (fault === undefined) return
  if (fault === 'error') throw internalError()
  if (fault === 'html') return reply.type('text/html').send('<!doctype html><title>Just a moment...</title>')
  if (fault === 'empty') return reply.code(200).send()
  if (fault === 'hang' || fault === 'drip' || fault === 'reset') {
    reply.hijack()
    if (fault === 'reset') request.raw.socket.resetAndDestroy()
    if (fault === 'drip') drip(reply)
    return
  }
  if ('delayMs' in fault) {
    const gone = new AbortController()
    reply.raw.once('close', () => gone.abort())
    await sleep(fault.delayMs, undefined, { signal: gone.signal }).catch(() => {})
    return
  }
  return reply
    .code(fault.status)
    .headers(fault.headers ?? {})
    .send(fault.body)
}

function drip({ raw }: FastifyReply): void {
  raw.writeHead(200, { 'content-type': 'application/json' })
  const timer = setInterval(() => raw.write(' '), DRIP_INTERVAL_MS)
  raw.once('close', () => clearInterval(timer))
}

/**
 * Limits the cost of request bodies. A body of several chunks is read into one buffer, because Node.js allocates an object for every chunk and an
 * attacker may send one byte per chunk. Until it is complete, it counts against a budget that all connections share.
 */
import type { Readable } from 'node:stream'
import { errorCodes, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { BodiesOverBudget, RouteNotFound } from '../../errors.ts'
import { createBodyBudget } from './body-budget.ts'

/** The size limit of every body except a webhook's. */
export const BODY_LIMIT_BYTES = 16_384
export const BODY_BUDGET_BYTES = 32 * 1_048_576

const SMALL_BYTES = 65_536
const FIRST_BYTES = 16_384
const budget = createBodyBudget(BODY_BUDGET_BYTES)

type Done = (error: Error | null, body?: Buffer) => void

/** Whether the Content-Length exceeds the limit of the route. */
export const isTooLarge = ({ headers, routeOptions }: FastifyRequest) =>
  Number(headers['content-length']) > routeOptions.bodyLimit

/** A content type parser that reads a body: 413 beyond the route's `bodyLimit`, 503 beyond the budget. */
export function readBody(request: FastifyRequest, payload: Readable, done: Done): void {
  const limit = request.routeOptions.bodyLimit
  if (isTooLarge(request)) {
    done(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
    return
  }
  const announced = request.headers['content-length']
  const expected = announced === undefined ? undefined : Number(announced)
  let whole: Buffer | undefined
  let buffer: Buffer<ArrayBuffer> | undefined
  let length = 0
  const body = {
    bytes: 0,
    isSmall: (expected ?? 0) <= SMALL_BYTES,
    refuse: () => end(new BodiesOverBudget()),
  }

  function grow(needed: number): boolean {
    const size = buffer?.length ?? 0
    const bytes = Math.min(Math.max(needed, size * 2, FIRST_BYTES), expected ?? limit)
    if (!budget.resize(body, bytes)) return false
    const larger = allocate(bytes)
    buffer?.copy(larger, 0, 0, length)
    if (buffer) free(buffer)
    buffer = larger
    return true
  }
  function onData(chunk: Buffer): void {
    const needed = length + chunk.length
    // Most bodies arrive in one piece, which needs neither a buffer nor room in the budget.
    if (length === 0 && needed === expected) whole = chunk
    else if (needed > limit) end(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE())
    else if (needed > (buffer?.length ?? 0) && !grow(needed)) end(new BodiesOverBudget())
    else length += chunk.copy(buffer as Buffer, length)
  }
  const onEnd = () => end(null)
  // The client has disconnected, so nobody reads the answer.
  const onError = (error: Error) => end(Object.assign(error, { statusCode: 400 }))
  function end(error: Error | null): void {
    budget.release(body)
    payload.off('data', onData).off('end', onEnd).off('error', onError)
    if (error && buffer) free(buffer)
    done(error, error ? undefined : (whole ?? buffer?.subarray(0, length) ?? Buffer.alloc(0)))
  }
  payload.on('data', onData).on('end', onEnd).on('error', onError)
}

// V8 maps the memory of resizable buffers directly, and returns it to the kernel when they are freed. `malloc` would keep the
// memory of thousands of large buffers.
function allocate(bytes: number): Buffer<ArrayBuffer> {
  if (bytes <= SMALL_BYTES) return Buffer.allocUnsafeSlow(bytes)
  return Buffer.from(new ArrayBuffer(bytes, { maxByteLength: bytes }), 0, bytes)
}

// Frees the memory at once: after a flood of bodies, garbage collection may not run for minutes.
function free({ buffer }: Buffer<ArrayBuffer>): void {
  buffer.transfer(0)
}

/** Accepts only JSON, within the limits, in the context that it is registered in. Bodies of unknown routes are not read. */
export default fp(
  async (app) => {
    const parse = app.getDefaultJsonParser('error', 'error')
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('application/json', (request, payload, done) =>
      readBody(request, payload, (error, body) =>
        error ? done(error) : parse(request, (body as Buffer).toString('utf8'), done),
      ),
    )
    app.addHook('preParsing', async (request) => {
      if (!request.is404) return
      if (isTooLarge(request)) throw new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE()
      throw new RouteNotFound(request.method, request.url.split('?', 1)[0])
    })
  },
  { name: 'clerk-limit-bodies', fastify: '5.x' },
)

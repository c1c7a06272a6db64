import { PassThrough, type Readable } from 'node:stream'
import Fastify, { type FastifyRequest } from 'fastify'
import { type Test, test } from 'tap'
import limitBodies, { BODY_BUDGET_BYTES, BODY_LIMIT_BYTES, readBody } from '../../../src/plugins/limits/bodies.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

const MIB = 1_048_576

/** Reads a body that comes by this stream, as a content type parser would. */
function read(stream: Readable, { announced, limit = MIB }: { announced?: number; limit?: number } = {}) {
  const request = {
    headers: announced === undefined ? {} : { 'content-length': String(announced) },
    routeOptions: { bodyLimit: limit },
  } as unknown as FastifyRequest
  return new Promise<Buffer | undefined>((resolve, reject) =>
    readBody(request, stream, (error, body) => (error ? reject(error) : resolve(body))),
  )
}

async function startApp(t: Test) {
  const app = Fastify({ bodyLimit: BODY_LIMIT_BYTES })
  await app.register(limitBodies)
  app.post('/echo', async ({ body }) => body)
  t.teardown(() => app.close())
  const post = async (payload: string, path = '/echo', type = 'application/json') => {
    const reply = await app.inject({ method: 'POST', url: path, payload, headers: { 'content-type': type } })
    return { status: reply.statusCode, code: reply.json().code }
  }
  return { app, post }
}

test('a body is whole, whatever its chunks', async (t) => {
  const text = 'ü'.repeat(40_000)
  for (const announced of [undefined, Buffer.byteLength(text)]) {
    const stream = new PassThrough()
    const body = read(stream, { announced })
    const bytes = Buffer.from(text)
    for (let i = 0; i < bytes.length; i += 1_111) stream.write(bytes.subarray(i, i + 1_111))
    stream.end()
    t.equal((await body)?.toString(), text)
  }
  t.equal((await read(new PassThrough().end()))?.length, 0)
})

test('a body beyond the limit of its route is refused, by its Content-Length or its actual length', async (t) => {
  const never = new PassThrough()
  await t.rejects(read(never, { announced: 17, limit: 16 }), { code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 })
  t.equal(never.listenerCount('data'), 0, 'nothing of it is read')
  const chunked = new PassThrough()
  const body = read(chunked, { limit: 16 })
  chunked.write(Buffer.alloc(16))
  chunked.write(Buffer.alloc(1))
  await t.rejects(body, { code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 })
  const longest = new PassThrough()
  longest.end(Buffer.alloc(16))
  t.equal((await read(longest, { limit: 16 }))?.length, 16)
})

test('a client that disconnects in the middle of a body frees its part of the budget', async (t) => {
  for (let i = 0; i < 2 * (BODY_BUDGET_BYTES / MIB); i += 1) {
    const stream = new PassThrough()
    const body = read(stream, { announced: MIB })
    stream.write(Buffer.alloc(MIB - 1))
    stream.destroy(new Error('aborted'))
    await t.rejects(body, { message: 'aborted', statusCode: 400 })
  }
})

test('bodies beyond the budget get 503; a small one is still read, and evicts the oldest', async (t) => {
  const stalled: { body: Promise<unknown>; stream: PassThrough }[] = []
  const stall = () => {
    const stream = new PassThrough()
    const body = read(stream, { announced: MIB })
    body.catch(() => undefined)
    stream.write(Buffer.alloc(MIB - 1))
    stalled.push({ stream, body })
    return body
  }
  let refusals = 0
  for (let i = 0; i < BODY_BUDGET_BYTES / MIB; i += 1) stall().catch(() => (refusals += 1))
  await waitUntil('the first chunks', async () => stalled.every(({ stream }) => stream.readableLength === 0))
  t.equal(refusals, 0, 'all of the budget may be used')
  await t.rejects(stall(), { code: 'BODIES_OVER_BUDGET', statusCode: 503 })
  const webhook = JSON.stringify({ type: 'user.created', data: { id: 'user_1' } })
  const whole = new PassThrough()
  whole.end(webhook)
  t.equal((await read(whole, { announced: webhook.length }))?.toString(), webhook)
  t.equal(refusals, 0, 'what comes in one piece needs no room')
  const small = new PassThrough()
  small.write(webhook.slice(0, 9))
  small.end(webhook.slice(9))
  t.equal((await read(small, { announced: webhook.length }))?.toString(), webhook)
  await t.rejects(stalled[0]?.body as Promise<unknown>, { code: 'BODIES_OVER_BUDGET' })
  t.equal(refusals, 1, 'the oldest made room, and no other')
  for (const { stream } of stalled) stream.end(Buffer.alloc(1))
})

test('only JSON is parsed; deep JSON and prototype poisoning are refused', async (t) => {
  const { post } = await startApp(t)
  t.equal((await post('{"a":1}')).status, 200)
  t.match(await post('[1'), { status: 400 })
  t.match(await post('{"__proto__":{"a":1}}'), { status: 400 })
  t.match(await post('a=1', '/echo', 'text/plain'), { status: 415, code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' })
  t.match(await post('['.repeat(BODY_LIMIT_BYTES)), { status: 400 }, 'as deep as the limit of bodies lets it be')
  t.match(await post('['.repeat(BODY_LIMIT_BYTES + 1)), { status: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE' })
})

test('a body to an unknown route is not read', async (t) => {
  const { post } = await startApp(t)
  t.match(await post('not even JSON', '/nowhere?a=1'), { status: 404 })
  t.match(await post('['.repeat(BODY_LIMIT_BYTES + 1), '/nowhere'), { status: 413 })
})

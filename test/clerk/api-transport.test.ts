import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { type Test, test } from 'tap'
import { MockAgent } from 'undici'
import { type Answer, createTransport, type TransportOptions } from '../../src/clerk/api-transport.ts'
import { createBackendApi } from '../../src/clerk/backend-api.ts'
import { clientOf } from '../emulator/start-clerk.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

async function start(t: Test, handler: Handler, options: Partial<TransportOptions> = {}) {
  const server = createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, get: createTransport({ secretKey: 'sk_test_a', apiUrl: url, deadlineMs: 5_000, ...options }) }
}

test('a request has the key, the pinned version of the API, and the path below that of the URL', async (t) => {
  const seen: IncomingMessage[] = []
  const { url, get } = await start(t, (request, response) => {
    seen.push(request)
    response.setHeader('content-type', 'application/json').end('{"a":1}')
  })
  t.strictSame(await get('/v1/users/user_1'), { status: 200, body: { a: 1 }, retryAfterMs: undefined })
  await createTransport({ secretKey: 'sk_test_a', apiUrl: `${url}/proxy/`, deadlineMs: 5_000 })('/v1/jwks')
  await clientOf({ secretKey: 'sk_test_a', apiUrl: url, publishableKey: 'pk_test_a' }).users.getUser('user_1')
  const [ours, proxied, theirs] = seen as [IncomingMessage, IncomingMessage, IncomingMessage]
  t.equal(proxied.url, '/proxy/v1/jwks')
  for (const name of ['authorization', 'clerk-api-version', 'host']) {
    t.equal(ours.headers[name], theirs.headers[name], `${name} is that of @clerk/backend`)
  }
  t.strictSame([ours.method, ours.url], [theirs.method, theirs.url])
})

test('connections are kept', async (t) => {
  const ports = new Set<number | undefined>()
  const { get } = await start(t, ({ socket }, response) => {
    ports.add(socket.remotePort)
    response.end('{}')
  })
  for (let call = 0; call < 20; call += 1) await get('/')
  t.ok(ports.size <= 2, `${ports.size} connections for 20 calls one after the other`)
})

test('a compressed answer is read, and is asked for only where it pays', async (t) => {
  const asked: (string | string[] | undefined)[] = []
  const { url, get } = await start(t, ({ headers }, response) => {
    asked.push(headers['accept-encoding'])
    const isGzip = headers['accept-encoding'] === 'gzip'
    const text = '[{"id":"user_1"}]'
    if (isGzip) response.setHeader('content-encoding', 'gzip')
    response.end(isGzip ? gzipSync(text) : text)
  })
  const body = [{ id: 'user_1' }]
  t.strictSame(((await get('/v1/users', { isCompressed: true })) as Answer).body, body)
  t.strictSame(((await get('/v1/users')) as Answer).body, body)
  const page = await createBackendApi({ secretKey: 'sk_test_a', apiUrl: url }).listUsers({})
  t.strictSame(page.ids, ['user_1'])
  t.strictSame(asked, ['gzip', undefined, 'gzip'], 'a list is, a single user is not')
})

test('Retry-After is read in seconds or as a date, and may be missing', async (t) => {
  let header: string | undefined
  const { get } = await start(t, (_request, response) => {
    if (header !== undefined) response.setHeader('retry-after', header)
    response.writeHead(429).end('{}')
  })
  const read = async (value: string | undefined) => {
    header = value
    return ((await get('/')) as Answer).retryAfterMs
  }
  t.equal(await read('2'), 2_000)
  const inAMinute = Number(await read(new Date(Date.now() + 60_000).toUTCString()))
  t.ok(inAMinute > 50_000 && inAMinute <= 60_000, `${inAMinute}`)
  for (const value of [undefined, 'soon', '0', 'Thu, 01 Jan 1970 00:00:00 GMT']) t.equal(await read(value), undefined)
})

test('requests may go by another dispatcher, such as that of a proxy', async (t) => {
  const dispatcher = new MockAgent()
  dispatcher.disableNetConnect()
  dispatcher
    .get('https://api.clerk.com')
    .intercept({ path: '/v1/jwks' })
    .reply(200, { keys: [{ kid: 'ins_1' }] })
  t.strictSame(await createBackendApi({ secretKey: 'sk_test_a', dispatcher }).findKeys(), [
    { kid: 'ins_1', n: undefined },
  ])
})

import { test } from 'tap'
import {
  type Behaviour,
  breakOff,
  drip,
  eventually,
  hang,
  jwksOf,
  recordLog,
  rsaJwk,
  send,
  sendKeys,
  startedJwksOf,
  startJwksServer,
} from '../helpers/jwks-server.ts'

const manyKeys = { keys: Array.from({ length: 1_001 }, () => 0) }

/** What an endpoint may do to us, and what the status says of it. */
const troubles: Record<string, [Behaviour, RegExp]> = {
  'accepts and says nothing': [hang, /^no complete answer in 200 ms$/],
  'drips a byte every 100 ms': [drip, /^no complete answer in 200 ms$/],
  'breaks off': [breakOff, /^terminated/],
  'answers 500': [send('{"keys":[]}', 500), /^status 500$/],
  'answers 500 with a good set': [sendKeysWithStatus(500), /^status 500$/],
  'answers 204': [send('', 204), /^status 204$/],
  'answers 206 with a good set': [sendKeysWithStatus(206), /^status 206$/],
  'sends HTML': [send('<!DOCTYPE html><p>marker</p>'), /^body is not JSON/],
  'sends garbage': [send('{"keys":[{"kid":"marker"'), /^body is not JSON/],
  'sends nothing': [send(''), /^body is not JSON/],
  'sends null': [send('null'), /with an array of keys$/],
  'sends an array': [send('[]'), /with an array of keys$/],
  'sends keys that are no array': [send('{"keys":{"0":"marker"}}'), /with an array of keys$/],
  'sends an empty set': [sendKeys(), /^no usable key/],
  'sends only keys of no use': [sendKeys(rsaJwk('marker', { use: 'enc' })), /^no usable key .*not for signatures":1/],
  'sends more than 1000 keys': [send(JSON.stringify(manyKeys)), /^more than 1000 keys$/],
}

function sendKeysWithStatus(status: number): Behaviour {
  return send(JSON.stringify({ keys: [rsaJwk('new')] }), status)
}

for (const [name, [trouble, reason]] of Object.entries(troubles)) {
  test(`an endpoint that ${name}: good keys serve, unknown ones are unavailable, and it recovers`, async (t) => {
    const deadlineMs = trouble === hang || trouble === drip ? 200 : 5_000
    const { lines, log } = recordLog()
    const server = await startJwksServer(t, sendKeys('a'))
    const jwks = await startedJwksOf(t, server, { deadlineMs, cooldownMs: 100, log })
    const before = jwks.status()
    server.behave = trouble
    const lookup = await jwks.find('new')
    t.equal(lookup.state, 'unavailable')
    const status = jwks.status()
    t.match(status, { state: 'stale', keyCount: 1, fetches: before.fetches + 1, failures: before.failures + 1 })
    t.match(status.lastError, reason)
    t.equal((await jwks.find('a')).state, 'found')
    server.behave = sendKeys('a', 'new')
    await eventually(() => jwks.status().state === 'ok')
    t.equal((await jwks.find('new')).state, 'found')
    t.notMatch(lines.join(), 'marker', 'nothing of the body in the log')
  })
}

test('a redirect is not followed, even to a good key set', async (t) => {
  const good = sendKeys('new')
  const server = await startJwksServer(t, (request, response) =>
    request.url === '/moved' ? good(request, response) : response.writeHead(302, { location: '/moved' }).end(),
  )
  const jwks = jwksOf(t, server)
  t.equal((await jwks.find('new')).state, 'unavailable')
  t.match(jwks.status().lastError, 'unexpected redirect')
  t.strictSame(server.hits, ['/.well-known/jwks.json'])
})

test('a body of 10 MB is cut off, not read to its end', async (t) => {
  const closed = Promise.withResolvers<boolean>()
  const server = await startJwksServer(t, (_request, response) => {
    response.on('close', () => closed.resolve(response.writableFinished))
    response.writeHead(200).end(JSON.stringify({ keys: [rsaJwk('a'), 'x'.repeat(10 * 1024 * 1024)] }))
  })
  const jwks = jwksOf(t, server)
  t.equal((await jwks.find('a')).state, 'unavailable')
  t.equal(jwks.status().lastError, 'body over 1048576 bytes')
  t.equal(await closed.promise, false)
})

test('a body of 1 MiB is read, one of a byte more is not', async (t) => {
  const text = JSON.stringify({ keys: [rsaJwk('a')] })
  const server = await startJwksServer(t, send(text.padEnd(1024 * 1024 + 1)))
  t.equal((await jwksOf(t, server).find('a')).state, 'unavailable')
  server.behave = send(text.padEnd(1024 * 1024))
  t.equal((await jwksOf(t, server).find('a')).state, 'found')
})

test('the deadline ends the connection, too', async (t) => {
  for (const trouble of [hang, drip]) {
    const closed = Promise.withResolvers<void>()
    const server = await startJwksServer(t, (request, response) => {
      response.on('close', () => closed.resolve())
      trouble(request, response)
    })
    const jwks = jwksOf(t, server, { deadlineMs: 200 })
    t.equal((await jwks.find('a')).state, 'unavailable')
    await closed.promise
    t.ok((jwks.status().lastFetchMs ?? 0) >= 190, 'not before its time')
  }
})

test('an error page is not read, and its connection not kept', async (t) => {
  const closed = Promise.withResolvers<void>()
  const server = await startJwksServer(t, (_request, response) => {
    response.on('close', () => closed.resolve())
    response.writeHead(500).write('the first of very many lines')
  })
  const jwks = jwksOf(t, server, { deadlineMs: 600_000 })
  t.equal((await jwks.find('a')).state, 'unavailable')
  await closed.promise
  t.equal(jwks.status().lastError, 'status 500')
})

test('a refused connection is a failure like any other', async (t) => {
  // Port 1 (tcpmux) is listened to nowhere.
  const jwks = jwksOf(t, { issuer: 'http://127.0.0.1:1' })
  t.equal((await jwks.find('a')).state, 'unavailable')
  t.match(jwks.status().lastError, /^fetch failed: /)
})

test('error messages that the other side influences are logged as one short line of ASCII', async (t) => {
  const { lines, log } = recordLog()
  const server = await startJwksServer(t, sendKeys('a'))
  // OpenSSL's message on an HTTP server that was taken for an HTTPS one ends with a line feed.
  const misled = jwksOf(t, { issuer: server.issuer.replace('http:', 'https:') }, { log })
  t.equal((await misled.find('a')).state, 'unavailable')
  t.match(misled.status().lastError, /SSL/i)
  const junk = [
    ...[{}, rsaJwk(''), rsaJwk('x', { use: 'enc' }), rsaJwk('x', { alg: 'RS384' }), rsaJwk('x', { n: 'AQAB' })],
    ...[rsaJwk('x', { e: 'AQ' }), rsaJwk('\ud800'), null],
  ]
  server.behave = send(JSON.stringify({ keys: junk }))
  const long = jwksOf(t, server, { log })
  t.equal((await long.find('a')).state, 'unavailable')
  t.equal(long.status().lastError?.length, 200)
  for (const { lastError } of [misled.status(), long.status()]) t.match(lastError, /^[\x20-\x7e]{1,200}$/)
  t.notMatch(lines.join(), /[^\x20-\x7e]|\\n/)
})

import { spawn } from 'node:child_process'
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { createJwks, type Jwks } from '../../src/clerk/jwks.ts'
import {
  eventually,
  hang,
  jwksOf,
  recordLog,
  rsaJwk,
  send,
  sendKeys,
  startedJwksOf,
  startJwksServer,
  stoppedClock,
} from '../helpers/jwks-server.ts'

const pemOf = async (jwks: Jwks, kid: string) => {
  const lookup = await jwks.find(kid)
  return lookup.state === 'found' ? lookup.pem : lookup.state
}

test('a known kid returns its key at once', async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const server = await startJwksServer(
    t,
    sendKeys(rsaJwk('other'), { ...publicKey.export({ format: 'jwk' }), kid: 'a' }),
  )
  const jwks = await startedJwksOf(t, server)
  const lookup = jwks.find('a')
  if (lookup instanceof Promise || lookup.state !== 'found') return t.fail('had to wait')
  const data = Buffer.from('header.payload')
  t.ok(verify('RSA-SHA256', data, lookup.pem, sign('RSA-SHA256', data, privateKey)))
  t.not(await pemOf(jwks, 'other'), lookup.pem)
  t.strictSame(server.hits, ['/.well-known/jwks.json'])
})

test('the address is made from the issuer, with or without a slash or a path', async (t) => {
  const server = await startJwksServer(t, sendKeys('a'))
  for (const path of ['', '/', '/tenant', '/tenant/']) {
    await startedJwksOf(t, { ...server, issuer: server.issuer + path })
  }
  const [root, tenant] = ['/.well-known/jwks.json', '/tenant/.well-known/jwks.json']
  t.strictSame(server.hits, [root, root, tenant, tenant])
  t.throws(() => createJwks({ issuer: 'no address' }), TypeError)
})

test('unusable keys are skipped, and the log says why without their kids', async (t) => {
  const { publicKey: ec } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { publicKey: small } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const junk = [
    { ...ec.export({ format: 'jwk' }), kid: 'secret-ec' },
    { ...small.export({ format: 'jwk' }), kid: 'secret-small' },
    rsaJwk('secret-2047', { n: Buffer.from([0x7f, ...Array(254).fill(1), 0xff]).toString('base64url') }),
    rsaJwk('x', { kid: undefined }),
    rsaJwk('x', { kid: 7 }),
    rsaJwk(''),
    rsaJwk('k'.repeat(257)),
    rsaJwk('secret-\ud800'),
    rsaJwk('secret-enc', { use: 'enc' }),
    rsaJwk('secret-512', { alg: 'RS512' }),
    rsaJwk('secret-n', { n: undefined }),
    rsaJwk('secret-n', { n: 5 }),
    rsaJwk('secret-n', { n: '!!!' }),
    // Of more bits than OpenSSL verifies with; a megabyte of it would stop the process for a minute.
    rsaJwk('secret-n', { n: 'z'.repeat(2_736) }),
    rsaJwk('secret-e', { e: undefined }),
    rsaJwk('secret-e', { e: '' }),
    rsaJwk('secret-e', { e: 'AQ' }),
    rsaJwk('secret-e', { e: 'Ag' }),
    rsaJwk('secret-e', { e: 'BA' }),
    null,
    'text',
    [],
  ]
  const { lines, log } = recordLog()
  const server = await startJwksServer(t, send(JSON.stringify({ keys: [...junk, rsaJwk('good')] })))
  const jwks = await startedJwksOf(t, server, { refreshIntervalMs: 5, log })
  t.equal(jwks.status().keyCount, 1)
  t.equal((await jwks.find('good')).state, 'found')
  await eventually(() => server.hits.length >= 4)
  const warnings = lines.filter((line) => line.startsWith('warn'))
  t.equal(warnings.length, 1, 'said once, not at every refresh')
  t.match(warnings[0], 'not RSA')
  t.notMatch(lines.join(), /secret|kkk/)
})

test('a key may leave out use and alg, and have a kid of 256 characters', async (t) => {
  const kid = 'k'.repeat(256)
  const server = await startJwksServer(t, sendKeys(rsaJwk(kid, { use: undefined, alg: undefined })))
  const jwks = await startedJwksOf(t, server)
  t.equal((await jwks.find(kid)).state, 'found')
})

test('of two usable keys with one kid the first is used, even after an unusable one', async (t) => {
  const [first, second] = [rsaJwk('a'), rsaJwk('a')]
  const server = await startJwksServer(t, sendKeys(rsaJwk('a', { e: 'AQ' }), first, second))
  const jwks = await startedJwksOf(t, server)
  const pem = await pemOf(jwks, 'a')
  server.behave = sendKeys(first)
  t.equal(pem, await pemOf(await startedJwksOf(t, server), 'a'))
  server.behave = sendKeys(second)
  t.not(pem, await pemOf(await startedJwksOf(t, server), 'a'))
})

test('a key rotated in is found with the first token that it signs, also right after the start', async (t) => {
  const server = await startJwksServer(t, sendKeys('old'))
  const jwks = await startedJwksOf(t, server)
  server.behave = sendKeys('old', 'new')
  t.equal((await jwks.find('new')).state, 'found')
  t.equal(server.hits.length, 2)
  t.notOk(jwks.find('new') instanceof Promise, 'and is known from then on')
})

test('a key that was removed from the set is refused after the next refresh, even if no token asked for it', async (t) => {
  const { lines, log } = recordLog()
  const server = await startJwksServer(t, sendKeys('kept', 'withdrawn'))
  const jwks = await startedJwksOf(t, server, { refreshIntervalMs: 20, log })
  t.equal((await jwks.find('withdrawn')).state, 'found')
  server.behave = sendKeys('kept')
  await eventually(() => jwks.status().keyCount === 1)
  t.strictSame(await jwks.find('withdrawn'), { state: 'absent' })
  t.equal((await jwks.find('kept')).state, 'found')
  t.match(lines.at(-1), 'info JWKS keys changed {"keyCount":1,"added":1,"removed":1}', '"kept" has other numbers now')
})

test('a key replaced under its kid is replaced here by the next refresh', async (t) => {
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { refreshIntervalMs: 20 })
  const before = await pemOf(jwks, 'a')
  server.behave = sendKeys('a')
  await eventually(async () => (await pemOf(jwks, 'a')) !== before)
  t.match(await pemOf(jwks, 'a'), /^-----BEGIN PUBLIC KEY-----\n/)
})

test('an endpoint that is down from the start is fetched again until it answers, without any token', async (t) => {
  const { lines, log } = recordLog()
  const server = await startJwksServer(t, send('', 500))
  const jwks = jwksOf(t, server, { cooldownMs: 40, log })
  t.match(jwks.status(), { state: 'empty', keyCount: 0, ageMs: null, lastError: null, lastFetchMs: null, fetches: 0 })
  jwks.start()
  await eventually(() => jwks.status().failures >= 3)
  t.match(jwks.status(), { state: 'empty', lastError: 'status 500', ageMs: null })
  t.equal((await jwks.find('a')).state, 'unavailable')
  server.behave = sendKeys('a')
  await eventually(() => jwks.status().state === 'ok')
  t.notOk(jwks.find('a') instanceof Promise)
  t.match(jwks.status(), { keyCount: 1, lastError: null })
  const failure = `{"url":"${server.issuer}/.well-known/jwks.json","reason":"status 500","failuresInARow":1,"retryInMs":40}`
  t.match(lines[0], `error JWKS fetch failed ${failure}`)
  t.match(lines.at(-1), 'info JWKS fetch recovered')
})

test('the last good keys are used during an outage, and it recovers by itself', async (t) => {
  const { lines, log } = recordLog()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { refreshIntervalMs: 20, cooldownMs: 40, log })
  server.behave = send('', 503)
  await eventually(() => jwks.status().failures >= 2)
  t.match(jwks.status(), { state: 'stale', keyCount: 1, lastError: 'status 503' })
  t.notOk(jwks.find('a') instanceof Promise)
  t.equal((await jwks.find('a')).state, 'found')
  t.equal((await jwks.find('new')).state, 'unavailable', 'not absent: nobody can tell')
  t.match(lines[1], 'warn JWKS fetch failed')
  server.behave = sendKeys('a', 'new')
  await eventually(() => jwks.status().state === 'ok')
  t.equal((await jwks.find('new')).state, 'found')
})

test('keys older than maxAgeMs are not used, and come back with the endpoint', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now })
  server.behave = hang
  clock.advance(86_400_000)
  t.equal((await jwks.find('a')).state, 'found', 'a day old')
  t.match(jwks.status(), { state: 'ok', ageMs: 86_400_000, keyCount: 1 })
  server.behave = send('', 500)
  clock.advance(1)
  t.match(jwks.status(), { state: 'empty', ageMs: 86_400_001, keyCount: 0 })
  t.strictSame(await jwks.find('a'), { state: 'unavailable', retryAfterMs: 1_000 })
  server.behave = sendKeys('a')
  clock.advance(1_000)
  t.equal((await jwks.find('a')).state, 'found')
  t.match(jwks.status(), { state: 'ok', ageMs: 0 })
})

test('retries back off from 1 s, doubling, up to 5 s without keys and to the cool-down with keys; a success resets that', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, send('', 500))
  const jwks = jwksOf(t, server, { now: clock.now })
  const fail = async (expectedMs: number) => {
    t.strictSame(await jwks.find('a'), { state: 'unavailable', retryAfterMs: expectedMs })
    const { fetches, retryAfterMs } = jwks.status()
    t.equal(retryAfterMs, expectedMs)
    clock.advance(expectedMs - 1)
    t.strictSame(await jwks.find('a'), { state: 'unavailable', retryAfterMs: 1 })
    t.equal(jwks.status().fetches, fetches, 'no fetch in the meantime')
    clock.advance(1)
  }
  for (const expectedMs of [1_000, 2_000, 4_000, 5_000, 5_000]) await fail(expectedMs)
  t.match(jwks.status(), { fetches: 5, failures: 5, retryAfterMs: 0 })
  server.behave = sendKeys('b')
  t.equal((await jwks.find('a')).state, 'absent')
  server.behave = send('', 500)
  clock.advance(30_000)
  for (const expectedMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) await fail(expectedMs)
})

test('a fetch that an unknown kid caused is followed by refreshes even without start()', async (t) => {
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = jwksOf(t, server, { refreshIntervalMs: 20 })
  t.equal((await jwks.find('a')).state, 'found')
  await eventually(() => server.hits.length >= 3)
  t.equal(jwks.status().failures, 0)
})

test('by default a fetch has a deadline of 3 s, and a refresh follows after 5 minutes', async (t) => {
  const server = await startJwksServer(t, sendKeys('a'))
  const timers = t.capture(globalThis, 'setTimeout', setTimeout)
  const jwks = createJwks({ issuer: server.issuer })
  t.teardown(() => jwks.close())
  t.equal((await jwks.find('a')).state, 'found')
  const delays = timers().map(({ args }) => args[1])
  t.ok(delays.includes(3_000) && delays.includes(300_000), `${delays}`)
})

test('start() a second time, or after close(), fetches nothing', async (t) => {
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server)
  jwks.start()
  const closed = jwksOf(t, server)
  closed.close()
  closed.start()
  await sleep(50)
  t.equal(server.hits.length, 1)
})

test('close() aborts the current fetch, answers its callers, and ends the refreshes', async (t) => {
  const { lines, log } = recordLog()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { deadlineMs: 600_000, cooldownMs: 10, log })
  const { arrived } = server.hold()
  const waiting = [jwks.find('x'), jwks.find('y'), jwks.find('x')]
  await arrived
  const said = lines.length
  jwks.close()
  for (const lookup of await Promise.all(waiting)) t.equal(lookup.state, 'unavailable')
  t.equal((await jwks.find('a')).state, 'found', 'a request still under way can be answered')
  server.behave = sendKeys('a')
  await sleep(60)
  t.strictSame(await jwks.find('z'), { state: 'unavailable', retryAfterMs: 1 }, 'never 0')
  t.equal(server.hits.length, 2)
  t.equal(lines.length, said, 'our own close is no failure of the endpoint')
})

test('close() between fetches ends the refreshes, and unknown kids are unavailable, not absent', async (t) => {
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { refreshIntervalMs: 50 })
  t.equal((await jwks.find('x')).state, 'absent')
  const { fetches } = jwks.status()
  jwks.close()
  await sleep(150)
  t.equal(jwks.status().fetches, fetches)
  t.equal((await jwks.find('x')).state, 'unavailable')
})

for (const [name, behaviour] of Object.entries({ refresh: sendKeys('a'), retry: send('', 500) })) {
  test(`a pending ${name} keeps no process alive`, async (t) => {
    const server = await startJwksServer(t, behaviour)
    const script = `
      import { createJwks } from ${JSON.stringify(new URL('../../src/clerk/jwks.ts', import.meta.url).href)}
      const jwks = createJwks({ issuer: '${server.issuer}' })
      jwks.start()
      console.log((await jwks.find('a')).state)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const timer = setTimeout(() => child.kill(), 15_000)
    t.teardown(() => clearTimeout(timer))
    const said = once(child.stdout, 'data')
    const [code, signal] = await once(child, 'close')
    t.equal(String((await said)[0]).trim(), name === 'refresh' ? 'found' : 'unavailable')
    t.strictSame([code, signal], [0, null])
  })
}

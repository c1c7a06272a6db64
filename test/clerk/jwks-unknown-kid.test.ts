import { randomUUID } from 'node:crypto'
import { test } from 'tap'
import {
  eventually,
  jwksOf,
  recordLog,
  send,
  sendKeys,
  startedJwksOf,
  startJwksServer,
  stoppedClock,
} from '../helpers/jwks-server.ts'

const forge = (count: number) => Array.from({ length: count }, () => `forged-${randomUUID()}`)

test('50 made-up kids at once cause one fetch in each cool-down, and every good key is found meanwhile', async (t) => {
  const clock = stoppedClock()
  const { lines, log } = recordLog()
  const server = await startJwksServer(t, sendKeys('good', 'better'))
  const jwks = await startedJwksOf(t, server, { now: clock.now, log })
  for (const round of [1, 2, 3]) {
    const storm = async () => {
      const lookups = forge(50).map((kid) => {
        for (const known of ['good', 'better']) {
          const lookup = jwks.find(known)
          if (lookup instanceof Promise || lookup.state !== 'found') t.fail('a good key was not there at once')
        }
        return jwks.find(kid)
      })
      return Promise.all(lookups)
    }
    const [first, ...rest] = await storm()
    t.strictSame(first, { state: 'absent' }, 'its look was the one')
    t.strictSame(rest, Array(49).fill({ state: 'unavailable', retryAfterMs: 30_000 }), 'arrived after that had begun')
    clock.advance(29_999)
    t.strictSame(await storm(), Array(50).fill({ state: 'unavailable', retryAfterMs: 1 }))
    t.equal(server.hits.length, 1 + round)
    clock.advance(1)
  }
  t.equal(server.mostAtOnce, 1)
  t.notMatch(lines.join(), 'forged')
})

test('during the cool-down, a kid that the lookup did not find is absent; one that arrived later is unavailable', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now })
  t.equal((await jwks.find('early')).state, 'absent')
  server.behave = sendKeys('a', 'early', 'late')
  clock.advance(12_000.4)
  t.strictSame(await jwks.find('late'), { state: 'unavailable', retryAfterMs: 18_000 })
  t.equal(jwks.status().retryAfterMs, 18_000)
  t.strictSame(await jwks.find('early'), { state: 'absent' })
  t.equal(server.hits.length, 2)
  clock.advance(17_999.6)
  t.equal((await jwks.find('early')).state, 'found', 'looked for again: a CDN may have lagged')
  t.equal((await jwks.find('late')).state, 'found')
  t.equal(server.hits.length, 3)
})

test('the cool-down starts when the lookup starts', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now })
  const { arrived, release } = server.hold()
  const lookup = jwks.find('x')
  await arrived
  clock.advance(2_000)
  release(sendKeys('a'))
  t.equal((await lookup).state, 'absent')
  t.match(jwks.status(), { lastFetchMs: 2_000, retryAfterMs: 28_000 })
})

test('a refresh during the cool-down decides about kids that arrived before it, and starts no cool-down', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now, refreshIntervalMs: 30 })
  t.equal((await jwks.find('x')).state, 'absent')
  clock.advance(10_000)
  for (const kid of ['forged', 'rotated']) t.equal((await jwks.find(kid)).state, 'unavailable')
  server.behave = sendKeys('a', 'rotated')
  const { fetches } = jwks.status()
  await eventually(() => jwks.status().fetches >= fetches + 2)
  t.equal((await jwks.find('rotated')).state, 'found')
  t.equal((await jwks.find('forged')).state, 'absent')
  t.equal(jwks.status().retryAfterMs, 20_000)
})

test('a kid that arrives during the first fetch waits for it, and needs no other if it is in there', async (t) => {
  const server = await startJwksServer(t, sendKeys())
  const { arrived, release } = server.hold()
  const jwks = jwksOf(t, server)
  jwks.start()
  await arrived
  const lookups = [jwks.find('a'), jwks.find('b')]
  release(sendKeys('a', 'b'))
  for (const lookup of await Promise.all(lookups)) t.equal(lookup.state, 'found')
  t.equal(server.hits.length, 1)
})

test('kids that arrive during the first fetch and are not in there share one lookupup', async (t) => {
  const server = await startJwksServer(t, sendKeys())
  const first = server.hold()
  const jwks = jwksOf(t, server)
  jwks.start()
  await first.arrived
  const lookups = ['forged', 'rotated', 'a', 'forged-too'].map((kid) => jwks.find(kid))
  first.release(sendKeys('a'))
  server.behave = sendKeys('a', 'rotated')
  t.strictSame(
    (await Promise.all(lookups)).map(({ state }) => state),
    ['absent', 'found', 'found', 'absent'],
  )
  t.equal(server.hits.length, 2)
})

test('a lookup proves nothing about a kid that arrived during it, because the issuer may have rotated', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now })
  const { arrived, release } = server.hold()
  const early = jwks.find('early')
  await arrived
  const late = jwks.find('late')
  release(sendKeys('a'))
  t.strictSame(await early, { state: 'absent' })
  t.strictSame(await late, { state: 'unavailable', retryAfterMs: 30_000 })
  t.equal(server.hits.length, 2)
})

test('a kid that arrived before a lookup began gets its result', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now })
  t.equal((await jwks.find('x')).state, 'absent')
  t.equal((await jwks.find('waiting')).state, 'unavailable')
  clock.advance(30_000)
  const { arrived, release } = server.hold()
  const other = jwks.find('other')
  await arrived
  const joined = jwks.find('waiting')
  release(sendKeys('a'))
  t.strictSame([await other, await joined], [{ state: 'absent' }, { state: 'absent' }])
  t.equal(server.hits.length, 3)
})

test('a kid that arrived before a refresh began gets its result, without a lookup', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now, refreshIntervalMs: 30 })
  t.equal((await jwks.find('x')).state, 'absent')
  t.equal((await jwks.find('waiting')).state, 'unavailable')
  const { arrived, release } = server.hold()
  await arrived
  clock.advance(30_000)
  const { fetches } = jwks.status()
  const joined = jwks.find('waiting')
  release(sendKeys('a'))
  t.strictSame(await joined, { state: 'absent' })
  t.equal(jwks.status().fetches, fetches)
})

test('a caller that waits for a failing fetch learns when to retry, and no second fetch is made', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now })
  t.equal((await jwks.find('once-absent')).state, 'absent')
  clock.advance(30_000)
  const { arrived, release } = server.hold()
  const early = jwks.find('early')
  await arrived
  const lookups = [early, jwks.find('late'), jwks.find('once-absent')]
  release(send('', 500))
  for (const lookup of await Promise.all(lookups)) {
    t.strictSame(lookup, { state: 'unavailable', retryAfterMs: 1_000 })
  }
  t.equal(server.hits.length, 3)
  clock.advance(1_000)
  server.behave = sendKeys('a')
  t.equal((await jwks.find('late')).state, 'absent', 'a failed look started no cool-down')
})

test('a refresh that fails in the cool-down makes absent kids unavailable, not the other way round', async (t) => {
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { refreshIntervalMs: 30 })
  t.equal((await jwks.find('x')).state, 'absent')
  server.behave = send('', 500)
  await eventually(() => jwks.status().state === 'stale')
  t.equal((await jwks.find('x')).state, 'unavailable')
})

test('a thousand arrivals are remembered; a forgotten one counts as new', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now, refreshIntervalMs: 30 })
  const refreshed = async () => {
    const { fetches } = jwks.status()
    await eventually(() => jwks.status().fetches >= fetches + 2)
  }
  t.equal((await jwks.find('cause of the cool-down')).state, 'absent')
  t.equal((await jwks.find('first')).state, 'unavailable')
  const crowd = forge(1_000)
  await Promise.all(crowd.slice(0, 999).map((kid) => jwks.find(kid)))
  await refreshed()
  t.equal((await jwks.find('first')).state, 'absent', 'the last of a thousand')
  await jwks.find(String(crowd[999]))
  await refreshed()
  t.equal((await jwks.find(String(crowd[500]))).state, 'absent')
  t.equal((await jwks.find('first')).state, 'unavailable', 'pushed out, hence new')
})

test('a kid that was found and then disappears counts as new, because caches of a CDN may differ', async (t) => {
  const clock = stoppedClock()
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = await startedJwksOf(t, server, { now: clock.now, refreshIntervalMs: 30 })
  t.equal((await jwks.find('x')).state, 'absent')
  t.equal((await jwks.find('rotated')).state, 'unavailable')
  server.behave = sendKeys('a', 'rotated')
  await eventually(() => jwks.status().keyCount === 2)
  server.behave = sendKeys('a')
  await eventually(() => jwks.status().keyCount === 1)
  t.equal((await jwks.find('rotated')).state, 'unavailable')
})

test('a kid that is too long for any set is absent at once, without a fetch', async (t) => {
  const server = await startJwksServer(t, sendKeys('a'))
  const jwks = jwksOf(t, server)
  for (const kid of ['', 'k'.repeat(257), 7, null, undefined, {}]) {
    t.strictSame(jwks.find(kid as string), { state: 'absent' })
  }
  t.equal(server.hits.length, 0)
  t.equal((await jwks.find('k'.repeat(256))).state, 'absent')
  t.equal(server.hits.length, 1)
})

test('lookups and refreshes never overlap', async (t) => {
  const server = await startJwksServer(t, (request, response) => {
    setTimeout(() => sendKeys('a')(request, response), 3)
  })
  const jwks = await startedJwksOf(t, server, { refreshIntervalMs: 4, cooldownMs: 5 })
  await eventually(async () => {
    await Promise.all(forge(5).map((kid) => jwks.find(kid)))
    return server.hits.length >= 20
  })
  t.equal(server.mostAtOnce, 1)
  t.equal(jwks.status().failures, 0)
})

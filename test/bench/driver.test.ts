import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Test, test } from 'tap'
import { drive } from '../../bench/driver.ts'
import { getRequest } from '../../bench/requests.ts'

const HELD_MS = 200

/** Answers everything at once but its first request. */
async function startServer(t: Test): Promise<number> {
  let requests = 0
  const server = createServer((_request, response) => {
    requests += 1
    const answer = () => response.writeHead(200, { 'content-length': 2 }).end('ok')
    if (requests === 1) setTimeout(answer, HELD_MS)
    else answer()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

const TEN = (index: number) => (index < 10 ? getRequest('/') : undefined)

test('an open loop counts from the intended moment: what waits behind a slow request is slow as well', async (t) => {
  const port = await startServer(t)
  const { sent, latencies } = await drive({
    port,
    connections: 1,
    request: TEN,
    warmupSeconds: 0,
    seconds: 10,
    rate: 100,
  })
  t.equal(sent, 10)
  t.equal(latencies.length, 10)
  // The last of them was due 90 ms after the first, and waited for the rest of its time.
  t.ok((latencies[0] as number) >= HELD_MS - 100, `${latencies[0]} ms`)
})

test('a closed loop does not: it sends nothing while it waits', async (t) => {
  const port = await startServer(t)
  const { latencies } = await drive({ port, connections: 1, request: TEN, warmupSeconds: 0, seconds: Infinity })
  t.equal(latencies.length, 10)
  t.ok((latencies.at(-1) as number) >= HELD_MS - 1)
})

test('latencies are sorted by kind, and a status other than 200 is kept', async (t) => {
  const server = createServer(({ url }, response) => {
    response.writeHead(url === '/b' ? 500 : 200, { 'content-length': 2 }).end('ok')
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const { latenciesByKind, refusals } = await drive({
    port,
    connections: 2,
    request: (index) => (index < 10 ? getRequest(index < 3 ? '/b' : '/a') : undefined),
    kindOf: (index) => (index < 3 ? 'b' : 'a'),
    warmupSeconds: 0,
    seconds: 10,
    rate: 1_000,
  })
  t.equal(latenciesByKind.get('a')?.length, 7)
  t.equal(latenciesByKind.get('b')?.length, 3)
  t.strictSame([...refusals], [[500, { count: 3, body: 'ok' }]])
})

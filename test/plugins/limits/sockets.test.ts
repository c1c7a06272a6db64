import type { RequestListener } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { type Test, test } from 'tap'
import { createLimitedServer, endSoon, SOCKET_LIMITS, type SocketLimits } from '../../../src/plugins/limits/sockets.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

async function startServer(t: Test, handler: RequestListener, limits: Partial<SocketLimits> = {}) {
  const server = createLimitedServer(handler, {}, { ...SOCKET_LIMITS, ...limits })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const sockets: Socket[] = []
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((done) => server.close(done))
  })
  async function open() {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    sockets.push(socket)
    let received = ''
    socket.setEncoding('latin1').on('data', (text) => (received += text))
    await new Promise((done) => socket.once('connect', done))
    return { socket, received: () => received }
  }
  const connections = () => new Promise<number>((done) => server.getConnections((_error, count) => done(count)))
  return { open, connections }
}

test('sixteen requests may be in flight on a connection; the seventeenth closes it', async (t) => {
  t.equal(SOCKET_LIMITS.requestsInFlight, 16)
  let handled = 0
  const pending: (() => void)[] = []
  const { open, connections } = await startServer(t, (_request, response) => {
    handled += 1
    pending.push(() => response.end('ok'))
  })
  const { socket, received } = await open()
  socket.write(GET.repeat(16))
  await waitUntil('sixteen in flight', async () => handled === 16)
  t.notOk(socket.destroyed)
  for (const answer of pending.splice(0)) answer()
  await waitUntil('sixteen replies', async () => received().split('200 OK').length === 17)
  socket.write(GET.repeat(16))
  await waitUntil('sixteen more, since those before were answered', async () => handled === 32)
  socket.write(GET)
  await waitUntil('its end', async () => socket.destroyed && (await connections()) === 0)
  t.equal(handled, 32, 'the one too many never reached the application')
  const other = await open()
  other.socket.write(GET)
  await waitUntil('another connection is served', async () => handled === 33)
})

test('requests that follow in one packet after the seventeenth are not served either', async (t) => {
  let handled = 0
  const { open } = await startServer(t, () => (handled += 1))
  const { socket } = await open()
  socket.write(GET.repeat(500))
  await waitUntil('its end', async () => socket.destroyed)
  t.equal(handled, 16)
})

test('a reply that is not read in time costs the connection', async (t) => {
  const { open, connections } = await startServer(
    t,
    (_request, response) => response.end(Buffer.alloc(64 * 1_048_576)),
    {
      replyMs: 100,
    },
  )
  const { socket } = await open()
  socket.pause()
  socket.write(GET)
  await waitUntil('the connection', async () => (await connections()) === 0)
})

test('a connection whose request was answered before it was complete is closed soon after', async (t) => {
  const { open, connections } = await startServer(t, (_request, response) => response.end('enough'), { lingerMs: 100 })
  const { socket, received } = await open()
  socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1')
  await waitUntil('the reply', async () => received().includes('enough'))
  await waitUntil('the end', async () => (await connections()) === 0)
})

test('at the connection limit, the connection that has been longest without a request is closed', async (t) => {
  const answers: (() => void)[] = []
  const { open } = await startServer(t, (_request, response) => answers.push(() => response.end('ok')), {
    connections: 3,
  })
  const busy = await open()
  busy.socket.write(GET)
  await waitUntil('its request', async () => answers.length === 1)
  const [idle, idleToo] = [await open(), await open()]
  const newcomer = await open()
  newcomer.socket.write(GET)
  await waitUntil('the request of the newcomer', async () => answers.length === 2)
  await waitUntil('the oldest idle one ends', async () => idle.socket.destroyed)
  t.notOk(idleToo.socket.destroyed || busy.socket.destroyed)
  for (const answer of answers) answer()
  await waitUntil('both replies', async () => [busy, newcomer].every(({ received }) => received().includes('200 OK')))
})

test('at the connection limit, with requests on all connections, a new one is refused', async (t) => {
  let handled = 0
  const { open } = await startServer(t, () => (handled += 1), { connections: 1 })
  const busy = await open()
  busy.socket.write(GET)
  await waitUntil('its request', async () => handled === 1)
  const newcomer = await open()
  await waitUntil('its end', async () => newcomer.socket.destroyed)
  t.notOk(busy.socket.destroyed)
})

test('the last text is sent once, and the socket is freed even if it is not read', async (t) => {
  const { open, connections } = await startServer(t, ({ socket }) => {
    endSoon(socket, 'x'.repeat(64 * 1_048_576), { ...SOCKET_LIMITS, lingerMs: 100 })
    endSoon(socket, 'again')
  })
  const { socket } = await open()
  socket.pause()
  socket.write(GET)
  await waitUntil('the connection', async () => (await connections()) === 0)
})

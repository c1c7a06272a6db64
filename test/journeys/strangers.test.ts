/** What a stranger sends or refuses to read, against a process of its own in production settings. */
import { readdirSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import tap, { type Test, test } from 'tap'
import { freePorts, runBuilt } from '../helpers/process.ts'
import { createProduction, settingsOf } from '../helpers/production.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(240_000)

// Of 512 MiB that docker-compose.yml grants; the rest is margin for the page cache.
const CEILING_MIB = 400
const RETURN_MIB = 64

const memoryMib = (pid: number | undefined) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024

async function startTarget(t: Test, settings: Record<string, string> = {}) {
  const { clerk, database } = await createProduction(t)
  const port = await freePorts()
  const url = `http://127.0.0.1:${port}`
  // What was built, as the image runs it.
  const server = runBuilt(t, ['--max-semi-space-size=16', 'dist/server.js'], {
    NODE_ENV: 'production',
    MALLOC_MMAP_THRESHOLD_: '32768',
    MALLOC_TRIM_THRESHOLD_: '131072',
    HOST: '127.0.0.1',
    PORT: String(port),
    ...settingsOf(clerk, database),
    ...settings,
  })
  await server.until(/Server listening/)
  const { child } = server
  const user = clerk.createUser({ email: 'ada@example.com' })
  const token = clerk.sessionToken(clerk.signIn(user.id).id)
  let highestMib = 0
  function measure(): void {
    if (child.exitCode === null && child.signalCode === null) highestMib = Math.max(highestMib, memoryMib(child.pid))
  }
  const startMib = memoryMib(child.pid)
  measure()
  t.comment(`${Math.round(startMib)} MiB at the start`)
  const timer = setInterval(measure, 100)
  t.teardown(() => clearInterval(timer))
  const sockets: Socket[] = []
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })

  /** A connection that never reads; the service may end it at any time. */
  function open(): Socket {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    socket.pause()
    sockets.push(socket)
    return socket
  }
  /** The service is the same process, within its memory, and serves others. */
  async function survives(): Promise<void> {
    t.equal(child.exitCode, null, 'still the same process')
    const reply = await fetch(`${url}/api/auth/profile`, { headers: { authorization: `Bearer ${token}` } })
    t.equal(reply.status, 200, 'a good token is served')
    const body = JSON.stringify({
      type: 'email.created',
      object: 'event',
      timestamp: Date.now(),
      data: { id: 'ema_1' },
    })
    const headers = { 'content-type': 'application/json', ...clerk.sign(body) }
    t.equal((await fetch(`${url}/clerk`, { method: 'POST', headers, body })).status, 200, 'a good webhook too')
    measure()
    t.ok(highestMib < CEILING_MIB, `took ${Math.round(highestMib)} MiB at most`)
  }
  /** Its memory is near that of its start again, within a minute. */
  async function recovers(): Promise<void> {
    await waitUntil('its memory back', async () => memoryMib(child.pid) < startMib + RETURN_MIB)
    t.comment(`${Math.round(memoryMib(child.pid))} MiB afterwards`)
  }
  return { open, survives, recovers, url, clerk, user, pid: child.pid as number }
}

const descriptorsOf = (pid: number) => readdirSync(`/proc/${pid}/fd`).length
const post = (path: string, header: string) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${header}\r\n\r\n`

test('pipelined requests whose replies are not read close their connection', async (t) => {
  const { open, survives, recovers } = await startTarget(t)
  async function attack(path: string) {
    const request = `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
    const socket = open()
    socket.write(request.repeat(1_857))
    // Whoever does not read learns of the end by writing.
    await waitUntil('its end', async () => {
      socket.write(request)
      return socket.destroyed
    })
  }
  await Promise.all([attack('/docs/json'), ...Array.from({ length: 4 }, () => attack('/metrics'))])
  await survives()
  await recovers()
})

test('a body of one-byte chunks uses no more memory than its bytes', async (t) => {
  const { open, survives, recovers } = await startTarget(t)
  const attack = (path: string) => {
    const socket = open().resume()
    // With or without an error.
    const ended = new Promise((resolve) => socket.once('close', resolve))
    socket.write(post(path, 'Transfer-Encoding: chunked'))
    socket.write('1\r\n[\r\n'.repeat(2_100_000))
    return ended
  }
  await Promise.all([attack('/clerk'), attack('/clerk'), attack('/nowhere')])
  await survives()
  await recovers()
})

test('stalled bodies and unread replies free memory and descriptors, whatever their peers do', async (t) => {
  const { open, survives, recovers, pid } = await startTarget(t)
  const before = descriptorsOf(pid)
  const body = Buffer.alloc(1_048_575, '[')
  const connected: Promise<unknown>[] = []
  for (let i = 0; i < 600; i++) {
    const socket = open()
    socket.write(post('/clerk', 'Content-Length: 1048576'))
    socket.write(body)
    connected.push(new Promise((resolve) => socket.once('connect', resolve)))
  }
  await Promise.all(connected)
  await survives()
  await waitUntil('their end', async () => descriptorsOf(pid) < before + 20)
  await survives()
  await recovers()
})

test('bodies beyond the shared budget are answered 503, and webhooks are still received', async (t) => {
  const { open, survives } = await startTarget(t)
  let refusals = 0
  for (let i = 0; i < 48; i++) {
    const socket = open().resume()
    let received = ''
    socket.setEncoding('latin1').on('data', (text) => {
      received += text
      if (/^HTTP\/1\.1 503 .*BODIES_OVER_BUDGET/s.test(received)) refusals += 1
      received = received.slice(0, 4_096)
    })
    socket.write(post('/clerk', 'Content-Length: 1048576'))
    socket.write(Buffer.alloc(1_048_575, '['))
  }
  await waitUntil('those for which there is no room', async () => refusals >= 16)
  await survives()
})

test('thousands of large valid tokens stay within the memory limit for remembered tokens', async (t) => {
  const { survives, url, clerk, user } = await startTarget(t)
  const session = clerk.signIn(user.id).id
  const claims = { padding: 'x'.repeat(11_000) }
  let refused = 0
  const lane = async () => {
    for (let i = 0; i < 375; i += 1) {
      const authorization = `Bearer ${clerk.sessionToken(session, { claims })}`
      if ((await fetch(`${url}/api/auth/verify`, { headers: { authorization } })).status !== 200) refused += 1
    }
  }
  await Promise.all(Array.from({ length: 8 }, lane))
  t.equal(refused, 0, '3,000 tokens of 15 KB')
  await survives()
})

test('slow headers do not block other clients', async (t) => {
  const { open, survives, pid } = await startTarget(t)
  const before = descriptorsOf(pid)
  for (let i = 0; i < 2_500; i++) open().write('GET /livez HTTP/1.1\r\nHo')
  await waitUntil('the connections', async () => descriptorsOf(pid) > before + 1_500)
  await survives()
  await waitUntil('their end', async () => descriptorsOf(pid) < before + 20)
})

test('forged webhooks are refused, whatever their signature and their bytes', async (t) => {
  const { survives, url } = await startTarget(t)
  const seconds = String(Math.floor(Date.now() / 1_000))
  const send = async (signature: string, body: Uint8Array<ArrayBuffer>, timestamp = seconds) => {
    const headers = {
      'content-type': 'application/json',
      'svix-id': 'msg_1',
      'svix-timestamp': timestamp,
      'svix-signature': signature,
    }
    return (await fetch(`${url}/clerk`, { method: 'POST', headers, body })).status
  }
  const signature = `v1,${'A'.repeat(43)}=`
  t.equal(await send(`${signature} `.repeat(1_200), new Uint8Array(1_048_576)), 400)
  t.equal(await send(signature, new Uint8Array(1_048_576).fill(0x5b)), 400)
  t.equal(await send(signature, new Uint8Array(1_048_576).fill(0xff)), 400)
  t.equal(await send(signature, new Uint8Array(1_048_576), '99999999999999'), 400)
  const nested = await fetch(`${url}/nowhere`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '['.repeat(1_048_576),
  }).then(
    ({ status }) => status,
    // The reply may be lost behind bytes that were not read.
    () => 413,
  )
  t.equal(nested, 413)
  await survives()
})

test('a long poll outlives the time limits of slow clients', async (t) => {
  const { url } = await startTarget(t, { CHANGES: 'true', CHANGES_TOKEN: 'token-of-the-change-feed' })
  const headers = { authorization: 'Bearer token-of-the-change-feed' }
  const reply = await fetch(`${url}/api/changes?after=latest&wait=30`, { headers })
  t.equal(reply.status, 200)
  t.match(await reply.json(), { changes: [] })
})

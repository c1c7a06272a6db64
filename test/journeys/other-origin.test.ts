/** A web page of somebody else, open in the developer's browser while `npm run dev` runs. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tap, { test } from 'tap'
import { startBrowser } from '../helpers/browser.ts'
import { freePorts, ROOT, runNode } from '../helpers/process.ts'

tap.setTimeout(120_000)

interface State {
  users: { id: string }[]
  sessions: { id: string }[]
}

// Runs in the page, for each request in every way in which a browser sends one. Returns what could be read.
const ATTACK = `async (requests) => {
  const read = []
  const kinds = [
    { headers: { 'content-type': 'application/json' } },
    // Sent without a preflight.
    { headers: { 'content-type': 'text/plain' } },
    { mode: 'no-cors' },
  ]
  for (const [method, url, body] of requests) {
    for (const kind of kinds) {
      const reply = await fetch(url, { method, body: body && JSON.stringify(body), credentials: 'include', ...kind }).catch(() => undefined)
      if (reply && reply.type !== 'opaque') read.push(method + ' ' + url + ': ' + reply.status)
    }
    // Forms and frames know no CORS.
    const frame = document.createElement('iframe')
    frame.name = 'frame' + Math.random()
    // A stream of events never ends.
    const loaded = new Promise((done) => setTimeout(done, 1_000, (frame.onload = done)))
    if (method === 'GET') frame.src = url
    document.body.append(frame)
    if (method === 'POST') {
      const form = document.createElement('form')
      Object.assign(form, { method, action: url, enctype: 'text/plain', target: frame.name })
      document.body.append(form)
      form.submit()
    }
    await loaded
    if (method !== 'PATCH' && method !== 'DELETE') {
      await new Promise((done) => setTimeout(done, 100))
      const text = frame.contentDocument && frame.contentDocument.body.textContent
      if (text) read.push(method + ' ' + url + ' in a frame: ' + text)
    }
    frame.remove()
  }
  return read
}`

test('a page of another origin cannot read or change anything in emulator, demo and dashboard', async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), 'clerk-session-sync-origin-'))
  chmodSync(cwd, 0o711) // PostgreSQL runs as another user where the test is root.
  t.teardown(() => rmSync(cwd, { recursive: true, force: true }))
  const port = await freePorts()
  const dev = runNode(t, [join(ROOT, 'src/cli/index.ts'), 'dev'], { PORT: String(port), LOG_LEVEL: 'warn' }, { cwd })
  t.teardown(async () => {
    dev.child.kill('SIGINT')
    await dev.exit
  })
  await dev.until(/Press Ctrl-C to stop everything/)
  const service = `http://127.0.0.1:${port}`
  const clerk = `http://127.0.0.1:${port + 1}`
  const stateOf = async () => (await (await fetch(`${clerk}/emulator/state`)).json()) as State
  const before = await stateOf()
  const [user, session] = [before.users[0]?.id, before.sessions[0]?.id]
  t.ok(user && session)

  const server = createServer((_request, response) => response.setHeader('content-type', 'text/html').end('<p>hello'))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => new Promise((done) => server.close(done)))
  const page = await (await startBrowser(t)).newPage()
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)

  const requests: [method: string, url: string, body?: object][] = [
    ['GET', `${clerk}/emulator/state`],
    ['POST', `${clerk}/emulator/users`, { email: 'evil@example.com' }],
    ['PATCH', `${clerk}/emulator/users/${user}`, { firstName: 'Evil' }],
    ['DELETE', `${clerk}/emulator/users/${user}`],
    ['POST', `${clerk}/emulator/users/${user}/ban`],
    ['POST', `${clerk}/emulator/sign-in`, { userId: user }],
    ['POST', `${clerk}/emulator/sessions/${session}/token`],
    ['POST', `${clerk}/emulator/sessions/${session}/revoke`],
    ['POST', `${clerk}/emulator/webhooks`, { url: `${service}/elsewhere` }],
    ['GET', `${clerk}/v1/users`],
    ['POST', `${clerk}/v1/users`, { email_address: ['evil@example.com'] }],
    ['GET', `${service}/demo/api/world`],
    ['GET', `${service}/demo/api/events`],
    ['POST', `${service}/demo/api/database/stop`, { seconds: 5 }],
    ['GET', `${service}/dashboard/api/overview`],
    ['GET', `${service}/dashboard/api/users?q=a`],
    ['GET', `${service}/api/auth/profile`],
  ]
  const outcomes = await page.evaluate(`(${ATTACK})(${JSON.stringify(requests)})`)
  t.strictSame(outcomes, [], 'nothing was read')

  const after = await stateOf()
  t.strictSame(after, before, 'nothing was changed')
  t.equal((await fetch(`${service}/readyz`)).status, 200, 'the database still runs')

  // The same from a page whose name was pointed at loopback afterwards.
  for (const url of [`${clerk}/emulator/state`, `${service}/demo/api/world`]) {
    const { status } = await requestAs('evil.example', url)
    t.equal(status, 403, `${url} by the name of another host`)
  }
  t.equal((await requestAs('127.0.0.1', `${clerk}/emulator/state`)).status, 200)
})

/** A request with a `Host` that `fetch` would not send. */
async function requestAs(host: string, url: string): Promise<{ status: number }> {
  const { port } = new URL(url)
  return new Promise((resolve, reject) => {
    get(url, { headers: { host: `${host}:${port}` } }, (reply) => {
      reply.resume()
      resolve({ status: reply.statusCode as number })
    }).on('error', reject)
  })
}

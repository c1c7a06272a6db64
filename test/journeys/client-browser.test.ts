/** The React hook in a real browser, in front of the real service: accounts change while calls wait, sessions end, the network goes. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { build } from 'esbuild'
import { type Test, test } from 'tap'
import type { UseSessionSync } from '../../packages/client/src/react.ts'
import { startBrowser } from '../helpers/browser.ts'
import { ROOT } from '../helpers/process.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const DEADLINE_MS = 60_000

// Clerk's part is what a test sets; everything else is as in an app.
const PAGE = `
import { createElement } from 'react'
import { createRoot } from 'react-dom/client'
import { useSessionSync } from '${join(ROOT, 'packages/client/src/react.ts')}'

globalThis.statuses = []
function App({ auth }) {
  const session = useSessionSync({ baseUrl: location.origin, ...auth })
  globalThis.session = session
  statuses.push(session.status)
  return null
}
const root = createRoot(document.body)
globalThis.render = (auth) => {
  const getToken = (options) => globalThis.mintToken(auth.sessionId ?? '', options?.skipCache === true)
  root.render(createElement(App, { auth: { getToken, isLoaded: true, isSignedIn: true, ...auth } }))
}
`

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: PAGE, resolveDir: ROOT, loader: 'tsx' },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    define: { 'process.env.NODE_ENV': '"production"' },
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}

declare const render: (auth: object) => void
declare const session: UseSessionSync
declare const statuses: string[]

async function open(t: Test) {
  const service = await startService(t)
  const { clerk, url } = service
  const ada = clerk.createUser({ firstName: 'Ada' })
  const bob = clerk.createUser({ firstName: 'Bob' })
  const people = {
    ada: { userId: ada.id, sessionId: clerk.signIn(ada.id).id },
    bob: { userId: bob.id, sessionId: clerk.signIn(bob.id).id },
  }
  await clerk.webhooks.idle()

  const script = await bundle()
  const orders: string[] = []
  const held = new Map<string, Promise<void>>()
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url: path = '', method = 'GET', headers } = request
    await held.get(path)
    if (path === '/')
      response
        .setHeader('content-type', 'text/html')
        .end('<!doctype html><body><script type="module" src="/app.js"></script>')
    else if (path === '/app.js') response.setHeader('content-type', 'text/javascript').end(script)
    else if (path === '/orders') {
      const claims = JSON.parse(Buffer.from(`${headers.authorization}`.split('.')[1] as string, 'base64url').toString())
      orders.push(claims.sub)
      if (orders.length === 1) response.writeHead(503, { 'retry-after': '1' }).end()
      else response.writeHead(201).end()
    } else {
      const authorization = `${headers.authorization}`
      const reply = await fetch(url + path, { method, headers: { authorization } })
      response.writeHead(reply.status, Object.fromEntries(reply.headers)).end(await reply.text())
    }
  }
  const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const page = await (await startBrowser(t)).newPage()
  page.setDefaultTimeout(DEADLINE_MS)
  const tokens = { areMissing: false }
  await page.exposeFunction('mintToken', (sessionId: string) =>
    tokens.areMissing ? null : clerk.sessionToken(sessionId),
  )
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await page.waitForFunction('globalThis.render')
  const become = (auth: object) => page.evaluate((auth) => render(auth), auth)
  const status = () => page.evaluate(() => session.status)
  const until = (wanted: string) => waitUntil(wanted, async () => (await status()) === wanted)
  const name = () => page.evaluate(() => (session.status === 'ready' ? session.user.firstName : session.status))
  function hold(path: string): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    held.set(path, promise)
    return () => {
      held.delete(path)
      resolve()
    }
  }
  return { ...service, page, people, orders, tokens, become, status, until, name, hold }
}

test('a POST that waits is not sent again as another account', async (t) => {
  const { page, people, orders, become, until, name } = await open(t)
  await become(people.ada)
  await until('ready')
  const code = page.evaluate(() =>
    session.fetch('/orders', { method: 'POST', body: 'of Ada' }).then(
      ({ status }) => `${status}`,
      ({ code }) => code as string,
    ),
  )
  await waitUntil('the first answer', async () => orders.length === 1)
  await become(people.bob)
  t.equal(await code, 'SESSION_CHANGED')
  t.strictSame(orders, [people.ada.userId], 'nothing was sent in the other name')
  await until('ready')
  t.equal(await name(), 'Bob')
})

test('a sync under way for one account does not answer for another', async (t) => {
  const { page, people, become, until, name, hold } = await open(t)
  const release = hold('/api/auth/sync-user')
  await become(people.ada)
  await until('syncing')
  await become(people.bob)
  release()
  await until('ready')
  t.equal(await name(), 'Bob')
  await page.evaluate(() => session.profile())
  t.equal(await name(), 'Bob', 'also after the answer for Ada has arrived')
})

test('a session that ended is no longer ready', async (t) => {
  const { page, people, clerk, become, until, status } = await open(t)
  await become(people.ada)
  await until('ready')
  clerk.revokeSession(people.ada.sessionId)
  await clerk.webhooks.idle()
  await page.evaluate(() => session.profile().catch(() => undefined))
  await until('refused')
  await become({ ...people.ada, isSignedIn: false, sessionId: null, userId: null })
  t.equal(await status(), 'signed-out')
})

test('without network it fails, and syncs when the network is back; without a token it waits for Clerk', async (t) => {
  const { page, people, tokens, become, until, name } = await open(t)
  tokens.areMissing = true
  await become(people.ada)
  await until('syncing')
  tokens.areMissing = false
  await until('ready')
  t.notOk((await page.evaluate(() => statuses)).includes('signed-out'), 'a missing token is no sign-out')

  await page.context().setOffline(true)
  await become(people.bob)
  await until('failed')
  await page.context().setOffline(false)
  await until('ready')
  t.equal(await name(), 'Bob', 'by the event `online` alone')
})

import { connect } from 'node:net'
import { verifyToken } from '@clerk/backend'
import { test } from 'tap'
import { startClerk } from '../start-clerk.ts'
import { startReceiver } from '../start-receiver.ts'

type Clerk = Awaited<ReturnType<typeof startClerk>>

/** Calls the control API as curl would. */
async function call<T extends object>(clerk: Clerk, request: string, body?: object): Promise<T & { status: number }> {
  const [method, path] = request.split(' ')
  const response = await fetch(`${clerk.url}/emulator${path}`, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  return { status: response.status, ...((await response.json()) as T) }
}

test('users are created, changed, banned and deleted', async (t) => {
  const clerk = await startClerk(t)
  const attributes = { email: 'ada@example.com', firstName: 'Ada', publicMetadata: { nested: { list: [1, null] } } }
  const { status, ...created } = await call<{ id: string }>(clerk, 'POST /users', attributes)
  t.equal(status, 201)
  t.match(created, { first_name: 'Ada', public_metadata: { nested: { list: [1, null] } } })
  t.same(created, clerk.getUser(created.id), 'the reply leaves nothing out')
  t.match(await call(clerk, `PATCH /users/${created.id}`, { firstName: null }), { first_name: null })
  t.match(await call(clerk, `POST /users/${created.id}/ban`), { banned: true })
  t.match(await call(clerk, `POST /users/${created.id}/unban`), { banned: false })
  t.match(await call(clerk, `DELETE /users/${created.id}`), { object: 'user', deleted: true })
  t.match(await call(clerk, `DELETE /users/${created.id}`), { status: 404, errors: [{ code: 'resource_not_found' }] })
  t.match(await call(clerk, 'POST /users', { firstName: { a: 1 } }), {
    status: 422,
    errors: [{ code: 'form_param_value_invalid' }],
  })
})

test('a sign-in gives a token, by id or by email address', async (t) => {
  const clerk = await startClerk(t)
  const user = clerk.createUser({ email: 'ada@example.com' })
  const byEmail = await call<{ token: string; sessionId: string }>(clerk, 'POST /sign-in', { email: 'ADA@example.com' })
  t.match(await verifyToken(byEmail.token, { jwtKey: clerk.jwtKey }), { sub: user.id, sid: byEmail.sessionId })
  const byId = await call<{ token: string; sessionId: string }>(clerk, 'POST /sign-in', {
    userId: user.id,
    status: 'pending',
  })
  t.match(await verifyToken(byId.token, { jwtKey: clerk.jwtKey }), { sts: 'pending' })
  t.match(await call(clerk, 'POST /sign-in', { email: 'nobody@example.com' }), { status: 404 })
  t.match(await call(clerk, 'POST /sign-in', {}), { status: 404 })

  const { token } = await call<{ token: string }>(clerk, `POST /sessions/${byEmail.sessionId}/token`)
  t.match(await verifyToken(token, { jwtKey: clerk.jwtKey }), { sid: byEmail.sessionId })
  t.match(await call(clerk, `POST /sessions/${byId.sessionId}/activate`), { object: 'session' })
  t.equal(clerk.getSession(byId.sessionId).status, 'active')
  await call(clerk, `POST /sessions/${byId.sessionId}/revoke`)
  t.equal(clerk.getSession(byId.sessionId).status, 'revoked')
  const [ended, removed] = [clerk.signIn(user.id), clerk.signIn(user.id)]
  await call(clerk, `POST /sessions/${ended.id}/end`)
  await call(clerk, `POST /sessions/${removed.id}/remove`)
  t.same(
    [ended, removed].map(({ id }) => clerk.getSession(id).status),
    ['ended', 'removed'],
  )
})

test('the state shows the newest first', async (t) => {
  const { url } = await startReceiver(t)
  const clerk = await startClerk(t, { webhookUrl: url })
  clerk.seedUsers(150)
  const user = clerk.createUser({ createdAt: Date.now() + 1_000 })
  const session = clerk.signIn(user.id)
  await clerk.webhooks.idle()
  const state = await call<{ users: object[] }>(clerk, 'GET /state')
  t.match(state, {
    status: 200,
    url: clerk.url,
    publishableKey: clerk.publishableKey,
    instanceId: clerk.instanceId,
    userCount: 151,
    users: { 0: { id: user.id }, length: 100 },
    sessionCount: 1,
    sessions: [{ id: session.id, status: 'active' }],
    deliveries: clerk.webhooks.deliveries.toReversed(),
    webhooks: {
      url,
      enabled: true,
      held: null,
      dropNext: 0,
      delayNext: { count: 0, ms: 0 },
      duplicateNext: 0,
    },
  })
  t.same(state.users[0], clerk.getUser(user.id))
})

test('the switches of the webhooks', async (t) => {
  const { url, types } = await startReceiver(t)
  const clerk = await startClerk(t)
  clerk.webhooks.url = url
  clerk.webhooks.url = undefined
  t.match(await call(clerk, 'POST /webhooks', {}), { url: null, enabled: true })
  t.match(await call(clerk, 'POST /webhooks', { url }), { url })
  t.match(await call(clerk, 'POST /webhooks', { dropNext: 1, duplicateNext: 2, delayNext: { count: 3, ms: 1 } }), {
    dropNext: 1,
    duplicateNext: 2,
    delayNext: { count: 3, ms: 1 },
  })
  for (const name of ['lost', 'a', 'b', 'c']) await clerk.webhooks.send(name, {})
  t.same(types(), ['a', 'a', 'b', 'b', 'c'])

  t.match(await call(clerk, 'POST /webhooks', { hold: true }), { held: 0 })
  await clerk.webhooks.send('held', {})
  t.match(await call(clerk, 'GET /state'), { webhooks: { held: 1 } })
  t.match(await call(clerk, 'POST /webhooks', { hold: false }), { held: null })
  await clerk.webhooks.idle()
  t.equal(types().at(-1), 'held')

  t.match(await call(clerk, 'POST /webhooks', { enabled: false }), { enabled: false })
  t.match(await call(clerk, 'POST /webhooks', { url: null }), { url: null })
  t.match(await call(clerk, 'POST /webhooks', { dropNext: -1 }), { status: 422 })
})

test('over HTTP, the target of webhooks cannot be changed', async (t) => {
  const { url } = await startReceiver(t)
  const clerk = await startClerk(t, { webhookUrl: url })
  for (const foreign of ['http://192.0.2.1/clerk', `${url}x`, clerk.url]) {
    t.match(await call(clerk, 'POST /webhooks', { url: foreign }), { status: 422 }, foreign)
  }
  t.match(await call(clerk, 'POST /webhooks', { url: null }), { url: null })
  t.match(await call(clerk, 'POST /webhooks', { url }), { url })
})

const PAGE = 'http://localhost:5173'

test('a page of an origin that it was told of may pull the levers', async (t) => {
  const clerk = await startClerk(t, { allowedOrigins: [PAGE] })
  const preflight = await fetch(`${clerk.url}/emulator/users/user_1`, {
    method: 'OPTIONS',
    headers: { origin: PAGE, 'access-control-request-method': 'PATCH' },
  })
  t.equal(preflight.status, 204)
  t.match(Object.fromEntries(preflight.headers), {
    'access-control-allow-origin': PAGE,
    'access-control-allow-methods': /PATCH/,
    'access-control-allow-headers': /content-type/,
    vary: 'origin',
  })
  for (const path of ['/emulator/state', '/emulator/nothing', '/.well-known/jwks.json']) {
    const { headers } = await fetch(clerk.url + path, { headers: { origin: PAGE } })
    t.equal(headers.get('access-control-allow-origin'), PAGE, path)
    t.equal((await fetch(clerk.url + path)).headers.get('access-control-allow-origin'), null, path)
  }
})

test('it answers only this machine and its own pages', async (t) => {
  const clerk = await startClerk(t)
  const { host, port } = new URL(clerk.url)
  const answers = async (...headers: string[]) => {
    const request = `GET /emulator/state HTTP/1.1\r\n${headers.join('\r\n')}\r\nConnection: close\r\n\r\n`
    const socket = connect(Number(port), '127.0.0.1').setEncoding('utf8')
    socket.end(request)
    let text = ''
    for await (const chunk of socket) text += chunk
    return Number(text.split(' ')[1])
  }
  for (const good of [host, `localhost:${port}`, `LOCALHOST:${port}`, `[::1]:${port}`]) {
    t.equal(await answers(`Host: ${good}`), 200, good)
    t.equal(await answers(`Host: ${good}`, `Origin: http://${good.toLowerCase()}`), 200, `a page of ${good}`)
  }
  for (const bad of ['evil.example', `127.0.0.1.evil.example:${port}`, '192.0.2.1', 'localhost.', '']) {
    t.equal(await answers(`Host: ${bad}`), 403, bad)
  }
  for (const origin of ['https://evil.example', 'null', PAGE, `https://${host}`, 'http://127.0.0.1']) {
    t.equal(await answers(`Host: ${host}`, `Origin: ${origin}`), 403, origin)
  }
  for (const header of ['X-Forwarded-For', 'X-Forwarded-Host', 'Forwarded', 'Via', 'X-Real-IP', 'CF-Connecting-IP']) {
    t.equal(await answers(`Host: ${host}`, `${header}: 127.0.0.1`), 403, header)
  }
})

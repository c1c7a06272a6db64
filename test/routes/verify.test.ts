import { METHODS } from 'node:http'
import { test } from 'tap'
import { sendRaw } from '../helpers/raw-http.ts'
import { startService } from '../helpers/service.ts'

const ANY_METHOD = METHODS.filter((method) => method !== 'CONNECT')

test('every method, at the path and below it, with a body of any kind: allowed with a token, refused without', async (t) => {
  const { url, clerk } = await startService(t)
  const user = clerk.createUser()
  const session = clerk.signIn(user.id)
  const authorization = `Authorization: Bearer ${clerk.sessionToken(session.id)}`
  const paths = ['', '/', '/deep/er?x=1&y=%2F', `/${'long/'.repeat(1_000)}`, '/%ff%']
  const bodies: [headers: string[], body: string][] = [
    [[], ''],
    [['Content-Length: 4'], 'text'],
    [['Content-Type: application/json', 'Content-Length: 1'], '{'],
    [['Content-Type: no type at all', 'Content-Length: 4'], 'text'],
    [['Content-Type: multipart/form-data', 'Transfer-Encoding: chunked'], '1\r\nx\r\n0\r\n\r\n'],
  ]
  t.ok(ANY_METHOD.includes('PROPFIND') && ANY_METHOD.includes('QUERY'), 'the rare ones are among them')
  for (const method of ANY_METHOD) {
    for (const path of paths) {
      for (const [headers, body] of bodies) {
        const ask = (more: string[]) =>
          sendRaw(`${url}/api/auth/verify${path}`, { method, headers: [...headers, ...more], body })
        const { length } = path
        const what = `${method}, path of ${length}, ${headers.join()}`
        const allowed = await ask([authorization])
        t.match(allowed, { status: 200, body: '', headers: { 'x-auth-request-user': [user.id] } }, what)
        t.match(await ask([]), { status: 401, headers: { 'x-auth-request-error': ['MISSING_TOKEN'] } }, what)
      }
    }
  }
})

test('a body that never arrives, or is very large, is not waited for', async (t) => {
  const { url, clerk } = await startService(t)
  const token = clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)
  // Proxies that copy the headers of a request leave the length of its body in.
  const headers = [`Authorization: Bearer ${token}`, 'Content-Length: 3000000']
  t.match(await sendRaw(`${url}/api/auth/verify`, { method: 'POST', headers }), { status: 200 })
  t.match(await sendRaw(`${url}/api/auth/verify`, { method: 'POST', headers, body: 'x'.repeat(3_000_000) }), {
    status: 200,
  })
})

test('an allowed reply has the user in its headers, no body, and is never cached', async (t) => {
  const { clerk, url } = await startService(t)
  const ask = async (email: string | null) => {
    const user = clerk.createUser({ email, username: 'u' })
    const session = clerk.signIn(user.id)
    const authorization = `Authorization: Bearer ${clerk.sessionToken(session.id)}`
    const reply = await sendRaw(`${url}/api/auth/verify`, { headers: [authorization] })
    t.match(reply, { status: 200, body: '' })
    t.strictSame(reply.headers['x-auth-request-user'], [user.id])
    t.strictSame(reply.headers['x-auth-request-session'], [session.id])
    t.strictSame(reply.headers['cache-control'], ['no-store'])
    t.strictSame(reply.headers['content-length'], ['0'])
    t.equal(reply.headers['content-type'], undefined)
    clerk.deleteUser(user.id)
    return reply.headers['x-auth-request-email']
  }
  t.strictSame(await ask('ada+100%@example.com'), ['ada+100%25@example.com'])
  t.not((await ask('ādmin@example.com'))?.[0], (await ask('%C4%81dmin@example.com'))?.[0], 'no two look the same')
  t.strictSame(await ask('zoë@example.com'), ['zoë@example.com'], 'Latin-1 as it is')
  t.strictSame(await ask('łukasz@example.com'), ['%C5%82ukasz@example.com'])
  t.strictSame(await ask('100%-你好@example.com'), ['100%25-%E4%BD%A0%E5%A5%BD@example.com'], 'can be decoded again')
  t.strictSame(await ask('a\r\nX-Injected: 1@example.com'), ['a%0D%0AX-Injected:%201@example.com'])
  t.strictSame(await ask('a\u0085@example.com'), ['a%C2%85@example.com'], 'no control of Latin-1 either')
  t.strictSame(await ask(null), [''], 'empty for a user without an address')
})

test('the header of a session is empty for a token without one', async (t) => {
  const { clerk, call } = await startService(t)
  const session = clerk.signIn(clerk.createUser().id)
  const { status, headers } = await call('/api/auth/verify', {
    token: clerk.sessionToken(session.id, { omit: ['sid'] }),
  })
  t.equal(status, 200)
  t.equal(headers.get('x-auth-request-session'), '')
})

test('X-Auth-Request headers that the client sends have no effect', async (t) => {
  const { clerk, call } = await startService(t)
  const user = clerk.createUser({ phone: '+15550100' })
  const token = clerk.sessionToken(clerk.signIn(user.id).id, { omit: ['sid'] })
  const headers = {
    'x-auth-request-user': 'user_evil',
    'x-auth-request-email': 'evil@example.com',
    'x-auth-request-session': 'sess_evil',
    'x-auth-request-error': 'NONE',
  }
  const refused = await call('/api/auth/verify', { headers })
  t.match(refused, { status: 401, body: { code: 'MISSING_TOKEN' } })
  t.notMatch([...refused.headers].join(), 'evil')
  const allowed = await call('/api/auth/verify', { token, headers })
  t.match([allowed.status, allowed.headers.get('x-auth-request-user')], [200, user.id])
  t.notMatch([...allowed.headers].join(), 'evil')
})

test('a refusal has its code in a header too; an unknown error does not', async (t) => {
  const { clerk, call, database } = await startService(t, { hasSecretKey: false })
  const user = clerk.createUser()
  const session = clerk.signIn(user.id)
  const verify = async (more = {}) => {
    const token = clerk.sessionToken(session.id, more)
    const { status, body, headers } = await call('/api/auth/verify', { token })
    return [status, body.code, headers.get('x-auth-request-error')]
  }
  t.strictSame(await verify({ claims: { sts: 'pending' } }), [403, 'SESSION_PENDING', 'SESSION_PENDING'])
  t.strictSame(await verify({ expiresInSeconds: -60 }), [401, 'TOKEN_EXPIRED', 'TOKEN_EXPIRED'])
  await clerk.webhooks.idle()
  await database.query('alter table users rename column email to mail')
  t.strictSame(await verify(), [500, 'INTERNAL_SERVER_ERROR', null])
})

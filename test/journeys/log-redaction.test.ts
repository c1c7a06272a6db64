import { existsSync, readFileSync } from 'node:fs'
import { test } from 'tap'
import { findLeaks } from '../helpers/check-logs.ts'
import { createProduction } from '../helpers/production.ts'
import { FORBIDDEN_FILE, LOG_FILE } from '../helpers/run-log.ts'
import { startService } from '../helpers/service.ts'

const event = (data: object, type = 'user.updated') => JSON.stringify({ type, timestamp: Date.now(), data })

test('no line of the log, of any level, holds a secret, a token, an email or a name', async (t) => {
  const lines: string[] = []
  const service = await startService(t, { log: (line) => lines.push(line) })
  const { call, clerk, database } = service
  const person = { email: 'ada.secret@example.com', firstName: 'Adaline', lastName: 'Lovelacet', username: 'adaloves' }
  const ada = clerk.createUser(person)
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await clerk.webhooks.idle()
  const bad = `${token.slice(0, -4)}AAAA`
  for (const sent of [token, bad, 'not-a-token', `${token}.${token}`]) {
    await call('/api/auth/profile', { token: sent })
    await call('/api/auth/profile', { headers: { cookie: `__session=${sent}` } })
    await call(`/api/auth/verify/${sent}?email=${person.email}`, { token: sent, method: 'PUT', body: person.email })
    await call('/api/auth/sync-user', { method: 'POST', token: sent, body: JSON.stringify(person) })
    await call(`/${sent}?token=${sent}`)
  }
  const email_addresses = [{ id: 'idn_1', email_address: person.email }]
  const profile = { email_addresses, primary_email_address_id: 'idn_1', first_name: person.firstName }
  const deliver = (body: string, headers = { ...clerk.sign(body) }) =>
    call('/clerk', { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })
  await deliver(event({ id: ada.id, updated_at: Date.now(), ...profile }))
  await deliver(event({ updated_at: 'when', ...profile }))
  await deliver(`${person.email} is not JSON`)
  await deliver(event(profile), { ...clerk.sign('another') })
  // PostgreSQL quotes the row that it refuses; Clerk's API fails, and the claims are tried.
  await database.query(`alter table users add constraint short check (length(first_name) < 10)`)
  await deliver(event({ id: ada.id, updated_at: Date.now() + 5, ...profile, first_name: 'Adaline of Lovelacet' }))
  clerk.faults.api = { status: 500 }
  await call('/api/auth/sync-user', { method: 'POST', token })
  await database.query('alter table users rename to others')
  await call('/api/auth/profile', { token })
  await deliver(event({ id: ada.id, updated_at: Date.now() + 9, ...profile }))

  t.ok(lines.length > 30, `${lines.length} lines`)
  const log = lines.join('\n')
  const secrets = { ...person, token, bad, payload: token.split('.')[1], signature: token.split('.')[2] }
  const keys = { webhook: clerk.webhookSecret.replace('whsec_', ''), api: clerk.secretKey }
  for (const [name, secret] of Object.entries({ ...secrets, ...keys })) {
    t.notOk(log.includes(String(secret)), `the log has no ${name}`)
  }
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  const webhooks = parsed.filter(({ msg }) => msg === 'webhook')
  t.ok(webhooks.length > 0)
  for (const line of webhooks)
    t.match(line, { reqId: /./, svixId: /^msg_/, type: /./, outcome: /./, durationMs: Number })
  const syncs = parsed.filter(({ msg }) => /^synced/.test(String(msg)))
  t.ok(syncs.length > 0)
  for (const line of syncs) t.match(line, { reqId: /./, userId: ada.id, source: /./, durationMs: Number })
  const errors = parsed.flatMap(({ level, err }) => (err ? [{ level, err }] : []))
  t.match(
    errors.find(({ level }) => level === 50),
    { err: { code: '23514', stack: /\n\s+at / } },
    'a 500 has its stack',
  )
  t.match(
    errors.find(({ level }) => level === 40),
    { err: { code: 'DATABASE_UNAVAILABLE', stack: /\n\s+at [\s\S]+caused by: .*users" does not exist/ } },
    'a 503 has its cause, too',
  )
})

// What `helpers/end-run.ts` does with the log of the whole run is only as good as this.
test('the test keeps the log of every service, and finds a planted secret', async (t) => {
  const { clerk, call } = await startService(t, { settings: { DASHBOARD_TOKEN: 'of-the-operators-alone' } })
  await call('/kept-of-this-process')
  const { clerk: other, start } = await createProduction(t)
  const running = await start()
  const reply = await fetch(`${running.url}/api/auth/profile`)
  const { requestId } = (await reply.json()) as { requestId: string }
  await running.until(new RegExp(requestId))
  const read = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8') : '')
  t.match(read(LOG_FILE), /"reqId":"[\w-]+","method":"GET","route":"none"/, 'of an app in this process')
  t.match(read(LOG_FILE), requestId, 'of a service in a process of its own')
  const forbidden = read(FORBIDDEN_FILE)
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as string)
  for (const { webhookSecret, secretKey } of [clerk, other]) {
    t.ok(forbidden.includes(webhookSecret.replace('whsec_', '')))
    t.ok(forbidden.includes(secretKey))
  }
  t.ok(forbidden.includes('of-the-operators-alone'))
  t.strictSame(findLeaks(read(LOG_FILE), forbidden), [], 'nothing is found where nothing was planted')

  const token = clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)
  const { 'svix-signature': signature } = clerk.sign('{}')
  const planted = {
    'a JSON Web Token': token,
    'a payload of one': token.split('.')[1],
    'a bearer token': 'bearer not-a-jwt-at-all',
    'a signing secret': clerk.webhookSecret,
    'that without its prefix': clerk.webhookSecret.replace('whsec_', ''),
    'a secret key': clerk.secretKey,
    'a signature': signature,
    'a PEM': clerk.jwtKey,
    'a key that cancels queries': '"processID":7,"secretKey":1234567890',
    'a password of PostgreSQL': 'postgres://service:hunter2@127.0.0.1/users',
    'an address': 'ada@example.com',
    'an address in a URL': 'q=ada%40example.com',
    'a name': 'Lovelace',
    'a short name': 'Ada',
    'a username': 'adaloves',
    'a token of the dashboard': 'of-the-operators-alone',
  }
  for (const [what, secret] of Object.entries(planted)) {
    const line = JSON.stringify({ level: 30, msg: 'request', err: { message: `no ${secret} here` } })
    t.equal(findLeaks(`fine\n${line}\nfine`, ['Ada Lovelace', 'adaloves', ...forbidden]).at(0)?.line, line, what)
  }
  t.strictSame(
    findLeaks('{"userId":"user_3MeyJ3ahGHhwYq7SGRvSmMKH1kH"}', []),
    [],
    'an id that contains "eyJ" is no token',
  )
})

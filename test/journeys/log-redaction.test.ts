import { test } from 'tap'
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
  await deliver(`${person.email} is no JSON`)
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
    t.match(line, { reqId: /./, svixId: /^msg_/, type: /\./, outcome: /./, durationMs: Number })
  const syncs = parsed.filter(({ msg }) => /^synced/.test(String(msg)))
  t.ok(syncs.length > 0)
  for (const line of syncs) t.match(line, { reqId: /./, userId: ada.id, source: /./, durationMs: Number })
  t.match(
    parsed.find(({ level }) => Number(level) >= 50 || Number(level) === 40),
    { err: { stack: /./ } },
    'trouble has its stack',
  )
})

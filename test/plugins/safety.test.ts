import { test } from 'tap'
import { asksEveryTime, startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const TOKEN = 'a dashboard token of enough length'.replaceAll(' ', '-')

test('USER_DEPROVISIONED comes after USER_BANNED and before SESSION_PENDING, and a sync asks Clerk again', async (t) => {
  const { clerk, call, database } = await startService(t)
  const ada = clerk.createUser({ externalId: 'customer-42', phone: '+15555550100' })
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  const pending = clerk.sessionToken(clerk.signIn(ada.id, { status: 'pending' }).id)
  await waitUntil(
    'the user',
    async () => (await database.query('select 1 from users where last_sign_in_at is not null')).length > 0,
  )
  await clerk.webhooks.idle()
  t.match((await call('/api/auth/profile', { token })).body.user, {
    externalId: 'customer-42',
    phoneNumber: '+15555550100',
  })
  await database.query('update users set deprovisioned = true, banned = true')
  t.match(await call('/api/auth/profile', { token }), { status: 403, body: { code: 'USER_BANNED' } })
  await database.query('update users set banned = false')
  for (const each of [token, pending]) {
    t.match(await call('/api/auth/profile', { token: each }), { status: 403, body: { code: 'USER_DEPROVISIONED' } })
  }
  await database.query('update users set deprovisioned = false, locked = true')
  t.equal((await call('/api/auth/profile', { token })).status, 200, 'locked refuses nobody')
  await database.query(`update users set deprovisioned = true`)
  clerk.webhooks.url = undefined
  clerk.updateUser(ada.id, { firstName: 'Augusta' })
  t.match(await call('/api/auth/sync-user', { method: 'POST', token }), { status: 200, body: { source: 'clerk_api' } })
})

test('a user with an inferred deletion is looked up again, and comes back if Clerk knows the user', async (t) => {
  const { clerk, call, database } = await startService(t, asksEveryTime)
  const ada = clerk.createUser()
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await clerk.webhooks.idle()
  await database.query(`update users set deleted_at = now(), sync_source = 'clerk_api'`)
  clerk.faults.api = { status: 500, body: '{}' }
  t.match(await call('/api/auth/profile', { token }), { status: 403, body: { code: 'USER_DELETED' } })
  clerk.faults.api = undefined
  t.match(await call('/api/auth/profile', { token }), { status: 200, body: { user: { id: ada.id } } })
  clerk.deleteUser(ada.id)
  await clerk.webhooks.idle()
  t.match(await call('/api/auth/profile', { token }), { status: 403, body: { code: 'USER_DELETED' } })
})

test('a failed event is dismissed from the dashboard once', async (t) => {
  const { clerk, call, database } = await startService(t, {
    settings: { DASHBOARD_TOKEN: TOKEN },
    clerk: { retryScheduleMs: [] },
  })
  await clerk.webhooks.send('user.updated', { id: 5 }, { id: 'msg_bad' }).catch(() => undefined)
  const dismiss = () =>
    call('/dashboard/api/failed-events/msg_bad/dismiss', {
      method: 'POST',
      token: TOKEN,
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
  t.match(await dismiss(), { status: 200, body: { id: 'msg_bad' } })
  t.match(await dismiss(), { status: 404, body: { code: 'FAILED_EVENT_NOT_FOUND' } })
  t.match(await database.query('select outcome, payload from webhook_events'), [
    { outcome: 'discarded', payload: null },
  ])
})

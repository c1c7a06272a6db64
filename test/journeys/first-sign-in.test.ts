import { test } from 'tap'
import { asksEveryTime, startService } from '../helpers/service.ts'

test('a signed-in user never loops', async (t) => {
  const { clerk, call, database } = await startService(t, asksEveryTime)

  clerk.webhooks.dropNext(10)
  const ada = clerk.createUser({ email: 'ada@example.com', firstName: 'Ada' })
  const session = clerk.signIn(ada.id)
  const token = clerk.sessionToken(session.id)
  t.strictSame(await database.query('select * from users'), [], 'the webhooks were lost')

  const profile = await call('/api/auth/profile', { token })
  t.equal(profile.status, 200, 'profile answers 200 although the row was absent')
  t.match(profile.body.user, { id: ada.id, email: 'ada@example.com', firstName: 'Ada', emailVerified: true })
  t.equal((await database.query('select * from users')).length, 1)

  await clerk.webhooks.idle()
  clerk.webhooks.dropNext(1)
  clerk.updateUser(ada.id, { firstName: 'Augusta' })
  const synced = await call('/api/auth/sync-user', { method: 'POST', token })
  t.equal(synced.status, 200)
  t.match(synced.body, { created: false, source: 'clerk_api', user: { firstName: 'Augusta' } }, 'sync-user repairs')

  clerk.deleteUser(ada.id)
  await clerk.webhooks.idle()
  for (const [method, path] of [
    ['GET', '/api/auth/profile'],
    ['POST', '/api/auth/sync-user'],
    ['GET', '/api/auth/verify'],
  ] as const) {
    const refused = await call(path, { method, token })
    t.match(refused, { status: 403, body: { code: 'USER_DELETED' } }, `${path} refuses a deleted user`)
  }
  await clerk.webhooks.send('user.updated', { ...ada, updated_at: Date.now() + 1000 })
  await clerk.webhooks.idle()
  const [row] = await database.query('select * from users')
  t.match(row, { id: ada.id, email: null, first_name: null, deleted_at: Date }, 'nothing brings the user back')
})

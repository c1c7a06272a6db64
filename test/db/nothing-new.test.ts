import { test } from 'tap'
import { startService } from '../helpers/service.ts'

const SYNC = '/api/auth/sync-user'

for (const hasSecretKey of [true, false]) {
  test(`a sync with nothing new writes nothing (${hasSecretKey ? 'Backend API' : 'claims'})`, async (t) => {
    const { clerk, call, database } = await startService(t, {
      hasSecretKey,
      clerk: { sessionClaims: ({ first_name }) => ({ first_name }) },
    })
    clerk.webhooks.url = undefined
    const ada = clerk.createUser({ firstName: 'Ada' })
    const token = clerk.sessionToken(clerk.signIn(ada.id).id)
    const rows = () => database.query('select *, xmin::text, ctid::text from users')
    t.match(await call(SYNC, { method: 'POST', token }), { status: 201 })
    const before = await rows()
    for (const [method, path] of [
      ['POST', SYNC],
      ['GET', '/api/auth/profile'],
      ['POST', SYNC],
    ] as const) {
      t.match(await call(path, { method, token }), { status: 200, body: { user: { firstName: 'Ada' } } })
      t.strictSame(await rows(), before)
    }
  })
}

/** The steps of SECURITY.md, with a running service. */
import { randomBytes } from 'node:crypto'
import { test } from 'tap'
import { readFixture } from '../helpers/fixture.ts'
import { startService } from '../helpers/service.ts'

test('the webhook secret is rotated without a lost message', async (t) => {
  const fresh = `whsec_${randomBytes(24).toString('base64')}`
  const before = await startService(t)
  const { clerk } = before
  const old = clerk.webhookSecret
  const settings = (...secrets: string[]) => ({ settings: { CLERK_WEBHOOK_SIGNING_SECRET: secrets.join(',') } })
  const during = await startService(t, { ...settings(fresh, old), beside: before })
  const after = await startService(t, { ...settings(fresh), beside: before })
  const body = JSON.stringify(readFixture('user.created'))
  const statusOf = async ({ call }: typeof before, secret: string) => {
    const headers = { 'content-type': 'application/json', ...clerk.sign(body, { secret }) }
    return (await call('/clerk', { method: 'POST', headers, body })).status
  }
  t.strictSame([await statusOf(before, old), await statusOf(before, fresh)], [200, 400], 'before')
  t.strictSame([await statusOf(during, old), await statusOf(during, fresh)], [200, 200], 'while both are set')
  t.strictSame([await statusOf(after, old), await statusOf(after, fresh)], [400, 200], 'once the old one is taken out')
})

test('a new signing key is accepted with its first token, and the old one until Clerk drops it', async (t) => {
  const { clerk, call } = await startService(t)
  const session = clerk.signIn(clerk.createUser().id)
  const old = clerk.sessionToken(session.id)
  t.equal((await call('/api/auth/profile', { token: old })).status, 200)
  clerk.rotateKeys()
  t.equal((await call('/api/auth/profile', { token: clerk.sessionToken(session.id) })).status, 200, 'no restart')
  t.equal((await call('/api/auth/profile', { token: old })).status, 200)
})

import { test } from 'tap'
import { ClerkError } from '../../src/emulator/index.ts'
import { errorLike, manualClock, startClerk } from './start-clerk.ts'
import { startReceiver } from './start-receiver.ts'

test("a user's updated_at grows with every change, even when the clock stands still", async (t) => {
  const clock = manualClock(1_700_000_000_000)
  const clerk = await startClerk(t, { now: clock.now })
  const user = clerk.createUser()
  const versions = [
    user,
    clerk.updateUser(user.id, { firstName: 'A' }),
    clerk.banUser(user.id),
    clerk.unbanUser(user.id),
    clerk.updateUser(user.id, { firstName: 'B' }),
  ].map(({ updated_at }) => updated_at - clock.nowMs)
  t.same(versions, [0, 1, 2, 3, 4])
  clock.nowMs += 60_000
  t.equal(clerk.updateUser(user.id, { firstName: 'C' }).updated_at, clock.nowMs)
})

test('changing a returned object does not change the instance', async (t) => {
  const clerk = await startClerk(t)
  const publicMetadata = { role: 'admin' }
  const user = clerk.createUser({ publicMetadata })
  const session = clerk.signIn(user.id)
  publicMetadata.role = 'nobody'
  for (const object of [user, clerk.getUser(user.id), ...clerk.users()]) object.email_addresses.pop()
  session.latest_activity.city = 'Atlantis'
  t.match(clerk.getUser(user.id), { public_metadata: { role: 'admin' }, email_addresses: { length: 1 } })
  t.equal(clerk.getSession(session.id).latest_activity.city, 'San Francisco')
})

test('a sign-in updates the user and creates a session', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clock = manualClock(Date.now())
  const clerk = await startClerk(t, { webhookUrl: url, now: clock.now })
  const user = clerk.createUser()
  clock.nowMs += 5
  const session = clerk.signIn(user.id)
  await clerk.webhooks.idle()
  const now = clerk.getUser(user.id)
  t.match(now, { last_sign_in_at: clock.nowMs, last_active_at: clock.nowMs, updated_at: clock.nowMs })
  t.match(session, {
    object: 'session',
    id: /^sess_[0-9A-Za-z]{27}$/,
    client_id: /^client_/,
    user_id: user.id,
    status: 'active',
    created_at: clock.nowMs,
    expire_at: clock.nowMs + 7 * 86_400_000,
    abandon_at: clock.nowMs + 30 * 86_400_000,
  })
  const byType = Object.fromEntries(requests.map(({ event }) => [event.type, event]))
  t.same(Object.keys(byType).sort(), ['session.created', 'user.created', 'user.updated'])
  t.same(byType['user.updated']?.data, now)
  t.same(byType['session.created']?.data, { ...session, user: now })
})

test('a pending session becomes active', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clerk = await startClerk(t)
  const user = clerk.createUser()
  clerk.webhooks.url = url
  const pending = clerk.signIn(user.id, { status: 'pending' })
  t.equal(pending.status, 'pending')
  const active = clerk.activateSession(pending.id)
  t.match(active, { id: pending.id, status: 'active' })
  t.ok(active.updated_at > pending.updated_at)
  await clerk.webhooks.idle()
  t.same(requests.map(({ event }) => `${event.type} ${event.data.status}`).sort(), [
    'session.created active',
    'session.pending pending',
    'user.updated undefined',
  ])
})

test('a session ends once, by sign-out, removal or revocation', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clerk = await startClerk(t)
  const user = clerk.createUser()
  const sessions = [clerk.signIn(user.id), clerk.signIn(user.id), clerk.signIn(user.id)] as const
  clerk.webhooks.url = url
  const [ended, removed, revoked] = sessions
  t.equal(clerk.endSession(ended.id).status, 'ended')
  t.equal(clerk.removeSession(removed.id).status, 'removed')
  t.equal(clerk.revokeSession(revoked.id).status, 'revoked')
  t.ok(clerk.getSession(ended.id).updated_at > ended.updated_at)
  for (const change of [clerk.endSession, clerk.removeSession, clerk.revokeSession, clerk.activateSession]) {
    t.throws(() => change(ended.id), errorLike({ name: 'ClerkError', statusCode: 404 }))
  }
  await clerk.webhooks.idle()
  t.same(requests.map(({ event }) => event.type).sort(), ['session.ended', 'session.removed', 'session.revoked'])
  t.same(new Set(requests.map(({ event }) => event.data.user?.id)), new Set([user.id]))
})

test('a ban revokes all sessions and prevents new ones', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clerk = await startClerk(t)
  const user = clerk.createUser()
  const over = clerk.endSession(clerk.signIn(user.id).id)
  const [first, second] = [clerk.signIn(user.id), clerk.signIn(user.id, { status: 'pending' })]
  clerk.webhooks.url = url
  t.equal(clerk.banUser(user.id).banned, true)
  t.same(
    [first, second, over].map(({ id }) => clerk.getSession(id).status),
    ['revoked', 'revoked', 'ended'],
  )
  t.throws(() => clerk.signIn(user.id), errorLike({ statusCode: 403, item: { code: 'user_banned' } }))
  await clerk.webhooks.idle()
  t.same(requests.map(({ event }) => event.type).sort(), ['session.revoked', 'session.revoked', 'user.updated'])
  t.equal(clerk.unbanUser(user.id).banned, false)
  t.equal(clerk.signIn(user.id).status, 'active')
})

test('a deletion sends only user.deleted', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clerk = await startClerk(t)
  const user = clerk.createUser({ externalId: 'ext_9' })
  const other = clerk.createUser()
  const session = clerk.signIn(user.id)
  clerk.webhooks.url = url
  t.same(clerk.deleteUser(user.id), { object: 'user', id: user.id, deleted: true, external_id: 'ext_9' })
  t.same(clerk.deleteUser(other.id), { object: 'user', id: other.id, deleted: true })
  t.equal(clerk.getSession(session.id).status, 'removed')
  await clerk.webhooks.idle()
  t.same(
    new Map(requests.map(({ event }) => [event.data.id, event.type])),
    new Map([
      [user.id, 'user.deleted'],
      [other.id, 'user.deleted'],
    ]),
  )
  t.throws(() => clerk.getUser(user.id), errorLike({ item: { code: 'resource_not_found' } }))
  t.throws(() => clerk.deleteUser(user.id), errorLike({ statusCode: 404 }))
  t.throws(() => clerk.updateUser(user.id, {}), errorLike({ statusCode: 404 }))
  t.throws(() => clerk.createUser({ id: user.id }), errorLike({ statusCode: 422 }), 'an id is never given out twice')
})

test('a session of a deleted user has no user', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clerk = await startClerk(t)
  const user = clerk.createUser()
  const pending = clerk.signIn(user.id, { status: 'pending' })
  clerk.webhooks.url = url
  clerk.webhooks.hold()
  clerk.activateSession(pending.id)
  clerk.deleteUser(user.id)
  await clerk.webhooks.release()
  t.equal(requests[0]?.event.data.user?.id, user.id, 'an event carries the user of its own time')
  t.throws(() => clerk.endSession(pending.id), ClerkError)
})

test('email addresses, phone numbers and usernames are unique, whatever their case', async (t) => {
  const clerk = await startClerk(t)
  const user = clerk.createUser({ email: 'a@example.com', phone: '+15550000001', username: 'ada' })
  const other = clerk.createUser({ email: 'b@example.com', otherEmails: ['b2@example.com'] })
  const taken = (name: string) => errorLike({ item: { code: 'form_identifier_exists', meta: { param_name: name } } })
  t.throws(() => clerk.createUser({ email: 'A@example.com' }), taken('email_address'))
  t.throws(() => clerk.createUser({ email: 'c@example.com', otherEmails: ['B2@example.com'] }), taken('email_address'))
  t.throws(() => clerk.createUser({ phone: '+15550000001' }), taken('phone_number'))
  t.throws(() => clerk.updateUser(other.id, { username: 'ADA' }), taken('username'))
  t.equal(clerk.updateUser(user.id, { email: 'a@example.com' }).username, 'ada', 'a user does not block itself')
  clerk.updateUser(user.id, { email: 'c@example.com' })
  t.ok(clerk.updateUser(other.id, { email: 'a@example.com' }), 'what was given up is free again')
  clerk.deleteUser(user.id)
  t.ok(clerk.createUser({ username: 'ada' }), 'so is what was deleted')
})

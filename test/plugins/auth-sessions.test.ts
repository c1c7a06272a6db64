import { type Test, test } from 'tap'
import type { ClerkEmulator } from '../../src/emulator/index.ts'
import { type Service, startService } from '../helpers/service.ts'

const ROUTES = [
  ['GET', '/api/auth/profile'],
  ['GET', '/api/auth/verify'],
  ['POST', '/api/auth/sync-user'],
] as const

/** Two replicas on one database. Webhooks go to the first; the second never hears of anything. */
async function startReplicas(t: Test): Promise<[Service, Service]> {
  const first = await startService(t)
  return [first, await startService(t, { beside: first })]
}

async function assertEverywhere(t: Test, replicas: Service[], token: string, status: number, code?: string) {
  for (const [index, { call }] of replicas.entries()) {
    for (const [method, path] of ROUTES) {
      const reply = await call(path, { method, token })
      t.strictSame([reply.status, reply.body.code], [status, code], `replica ${index + 1}, ${path}`)
    }
  }
}

const endings: Record<string, (clerk: ClerkEmulator, sessionId: string) => unknown> = {
  revoked: (clerk, id) => clerk.revokeSession(id),
  ended: (clerk, id) => clerk.endSession(id),
  removed: (clerk, id) => clerk.removeSession(id),
  // No events of their own: the data of another say so.
  replaced: (clerk, id) => clerk.webhooks.send('session.removed', { ...clerk.getSession(id), status: 'replaced' }),
  abandoned: (clerk, id) => clerk.webhooks.send('session.ended', { ...clerk.getSession(id), status: 'abandoned' }),
  expired: (clerk, id) => clerk.webhooks.send('session.ended', { ...clerk.getSession(id), status: 'expired' }),
}

test('an ended session is refused at once on every replica, and no other session', async (t) => {
  const replicas = await startReplicas(t)
  const [{ clerk }] = replicas
  for (const [name, end] of Object.entries(endings)) {
    await t.test(name, async (t) => {
      const user = clerk.createUser()
      const [session, other] = [clerk.signIn(user.id), clerk.signIn(user.id)]
      const token = clerk.sessionToken(session.id)
      await assertEverywhere(t, replicas, token, 200)
      end(clerk, session.id)
      await clerk.webhooks.idle()
      await assertEverywhere(t, replicas, token, 401, 'SESSION_REVOKED')
      await assertEverywhere(t, replicas, clerk.sessionToken(session.id), 401, 'SESSION_REVOKED')
      await assertEverywhere(t, replicas, clerk.sessionToken(other.id), 200)
      const { headers } = await replicas[1].call('/api/auth/verify', { token })
      t.match(headers.get('www-authenticate'), /^Bearer error="invalid_token", error_description="[^"]+"$/)
    })
  }
})

test('a banned user is refused at once on every replica, and let in again with a new session', async (t) => {
  const replicas = await startReplicas(t)
  const [{ clerk }] = replicas
  const user = clerk.createUser()
  const token = clerk.sessionToken(clerk.signIn(user.id).id)
  await assertEverywhere(t, replicas, token, 200)
  clerk.banUser(user.id)
  await clerk.webhooks.idle()
  await assertEverywhere(t, replicas, token, 403, 'USER_BANNED')
  clerk.unbanUser(user.id)
  const again = clerk.sessionToken(clerk.signIn(user.id).id)
  await clerk.webhooks.idle()
  await assertEverywhere(t, replicas, again, 200)
  await assertEverywhere(t, replicas, token, 401, 'SESSION_REVOKED')
})

test('a deleted user is refused at once on every replica', async (t) => {
  const replicas = await startReplicas(t)
  const [{ clerk }] = replicas
  const user = clerk.createUser()
  const token = clerk.sessionToken(clerk.signIn(user.id).id)
  await assertEverywhere(t, replicas, token, 200)
  clerk.deleteUser(user.id)
  await clerk.webhooks.idle()
  await assertEverywhere(t, replicas, token, 403, 'USER_DELETED')
})

test('a bad token is refused as such, whatever the state of its user', async (t) => {
  const replicas = await startReplicas(t)
  const [{ clerk }] = replicas
  const user = clerk.createUser()
  const session = clerk.signIn(user.id)
  clerk.deleteUser(user.id)
  await clerk.webhooks.idle()
  const expired = clerk.sessionToken(session.id, { expiresInSeconds: -60, claims: { sts: 'pending' } })
  await assertEverywhere(t, replicas, expired, 401, 'TOKEN_EXPIRED')
})

/** What may be wrong with a user and a session, in the order in which it is said. */
const troubles: [
  code: string,
  status: number,
  happen: (clerk: ClerkEmulator, userId: string, sessionId: string) => void,
][] = [
  ['USER_DELETED', 403, (clerk, userId) => clerk.deleteUser(userId)],
  // Which revokes the session, too.
  ['USER_BANNED', 403, (clerk, userId) => clerk.banUser(userId)],
  ['SESSION_PENDING', 403, () => {}],
  ['SESSION_REVOKED', 401, (clerk, _userId, sessionId) => clerk.revokeSession(sessionId)],
]

test('of several problems, the first in the documented order is answered', async (t) => {
  const service = await startService(t)
  const { clerk, database } = service
  for (let mask = 1; mask < 1 << troubles.length; mask += 1) {
    const present = troubles.filter((_trouble, index) => mask & (1 << index))
    const [[code, status]] = present as [(typeof troubles)[number]]
    const names = present.map(([name]) => name)
    await t.test(names.join(), async (t) => {
      const user = clerk.createUser()
      const session = clerk.signIn(user.id)
      const sts = names.includes('SESSION_PENDING') ? 'pending' : 'active'
      const token = clerk.sessionToken(session.id, { claims: { sts } })
      // The last to be said happens first, so that each can happen.
      for (const [, , happen] of present.toReversed()) happen(clerk, user.id, session.id)
      await clerk.webhooks.idle()
      // By hand, since a tombstone forgets the ban.
      if (names.includes('USER_BANNED')) await database.query('update users set banned = true where id = $1', [user.id])
      await assertEverywhere(t, [service], token, status, code)
    })
  }
})

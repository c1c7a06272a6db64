import tap, { test } from 'tap'
import type { Change } from '../../src/domain/change.ts'
import { claims, deletion, message, SECOND, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'

tap.setTimeout(900_000)

const USERS = 12
const LANES = 8
const ROUNDS = 25

const pick = (below: number) => Math.floor(Math.random() * below)

/** A change of any kind to one of a few users and sessions. */
function anyChange(): Change {
  const n = pick(USERS)
  const [user, sess, at] = [`user_${n}`, `sess_${n}_${pick(3)}`, T0 + pick(50)]
  const kinds: (() => Change)[] = [
    () => ({ user: snapshot(user, at, { firstName: `${pick(3)}` }) }),
    () => ({ user: snapshot(user, at, { eventAt: null }) }),
    () => ({ user: claims(user, T0 + pick(50) * SECOND, { firstName: `${pick(3)}` }) }),
    () => ({ session: session(sess, user, 'active', at) }),
    () => ({ session: session(sess, user, 'revoked', at), user: snapshot(user, at) }),
    () => ({ user: deletion(user, at) }),
  ]
  // Deletions last: a tombstone takes no more changes.
  const change = (kinds[pick(20) === 0 ? 5 : pick(5)] as () => Change)()
  return pick(2) === 0 ? change : { ...change, message: message(`msg_${pick(400)}`) }
}

test('overlapping batches of every kind from two replicas never deadlock', async (t) => {
  const one = await startRepository(t, { max: LANES })
  const two = await startRepository(t, { max: LANES, database: one.database })
  const lane = async ({ repository }: typeof one) => {
    for (let i = 0; i < ROUNDS; i += 1) {
      const results = await repository.apply(Array.from({ length: 1 + pick(20) }, anyChange))
      for (const result of results) if ('error' in result) throw result.error
    }
  }
  await Promise.all(Array.from({ length: 2 * LANES }, (_, i) => lane(i % 2 === 0 ? one : two)))
  t.strictSame([one.repository.counts, two.repository.counts], [{ conflictRetries: 0 }, { conflictRetries: 0 }])
  t.strictSame(
    await one.database.query(`select s.id from sessions s join users u on u.id = user_id
      where deleted_at is not null and status not in ('ended', 'revoked')`),
    [],
    'no session of a deleted user lives',
  )
})

test('session events with and without their users never deadlock', async (t) => {
  const one = await startRepository(t, { max: LANES })
  const two = await startRepository(t, { max: LANES, database: one.database })
  const all = Array.from({ length: 40 }, (_, i) => ({ user: `user_${i % 2}`, sess: `sess_${i}` }))
  const lane = async ({ repository }: typeof one, hasUser: boolean) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const changes = all.map(({ user, sess }) => ({
        session: session(sess, user, 'active', T0 + pick(50)),
        ...(hasUser && { user: snapshot(user, T0 + pick(50)) }),
      }))
      await repository.apply(changes.sort(() => pick(3) - 1))
    }
  }
  await Promise.all(Array.from({ length: LANES }, (_, i) => lane(i % 2 === 0 ? one : two, i % 4 < 2)))
  t.strictSame([one.repository.counts, two.repository.counts], [{ conflictRetries: 0 }, { conflictRetries: 0 }])
})

test('after a deletion and a session event without a user, in any order, the session is ended', async (t) => {
  const one = await startRepository(t)
  const two = await startRepository(t, { database: one.database })
  const races = Array.from({ length: 150 }, (_, i) => i)
  await Promise.all(
    races.flatMap((i) => [
      two.apply({ session: session(`sess_${i}`, `user_${i}`, 'active', T0) }),
      one.apply({ user: deletion(`user_${i}`, T0) }),
    ]),
  )
  t.strictSame(await one.database.query('select status, count(*)::int from sessions group by 1'), [
    { status: 'ended', count: 150 },
  ])
})

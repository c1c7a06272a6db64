import tap, { test } from 'tap'
import type { Change } from '../../src/domain/change.ts'
import type { TestDatabase } from '../helpers/database.ts'
import { changeOf, joined, userDeleted } from '../helpers/organization-events.ts'
import { claims, deletion, message, SECOND, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'
import { waitUntil } from '../helpers/wait-until.ts'

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

test('a membership and the deletion of its user, at the same time on two replicas: the membership has ended', async (t) => {
  const one = await startRepository(t)
  const two = await startRepository(t, { database: one.database })
  // The membership's transaction is held between its read of the user and its commit.
  const other = await one.database.connect()
  t.teardown(() => other.release(true))
  await one.apply({ user: snapshot('user_1', T0) })
  await other.query("begin; insert into webhook_events (id, type, outcome) values ('msg_join', 'x', 'failed')")
  const metadata = { salary: 1 }
  const joining = one.apply(changeOf(joined('orgmem_1', 'org_1', 'user_1', T0 + SECOND, { metadata }), 'msg_join'))
  await waitUntil('it waits for the ledger', async () => (await waiting(one.database)) === 1)
  const deleting = two.apply(changeOf(userDeleted('user_1', T0 + 2 * SECOND), 'msg_delete'))
  await waitUntil('the deletion waits, too', async () => (await waiting(one.database)) === 2)
  await other.query('rollback')
  t.strictSame([await joining, await deleting], [['applied'], ['applied']])
  t.strictSame(await one.database.query('select ended_at, public_metadata from organization_memberships'), [
    { ended_at: new Date(T0 + 2 * SECOND), public_metadata: {} },
  ])
})

const waiting = async ({ query }: TestDatabase) =>
  (
    await query(
      "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and state = 'active'",
    )
  ).length

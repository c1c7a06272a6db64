import tap, { type Test, test } from 'tap'
import { readReceivedEvent } from '../../src/resources/received-event.ts'
import { left } from '../helpers/organization-events.ts'
import { deletion, inferred, message, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'

tap.setTimeout(900_000)

async function start(t: Test) {
  const it = await startRepository(t, { storePayloads: true })
  const bodies = async () =>
    (await it.database.query('select id from webhook_events where payload is not null order by id')).map(({ id }) => id)
  /** A delivery as the intake would keep it. */
  async function receive(id: string, body: string, sentAt = T0 + 1_000): Promise<string> {
    const received = readReceivedEvent({ id, sentAt }, body, Date.now())
    if ('change' in received) return String((await it.apply(received.change))[0])
    await it.repository.fail(received.unusable, received.reason)
    return 'failed'
  }
  return { ...it, bodies, receive }
}

const bad = (id: string, timestamp = T0) =>
  JSON.stringify({
    type: 'user.updated',
    timestamp,
    data: { id, private_metadata: { ssn: '078-05-1120' }, last_sign_in_at: '2026-01-01T00:00:00Z' },
  })
const badSession = (userId: string) =>
  JSON.stringify({ type: 'session.created', timestamp: T0, data: { id: 'sess_bad', user_id: userId, created_at: 'x' } })

test('the deletion of a user removes every stored payload about the user, and no others', async (t) => {
  const { apply, bodies, receive } = await start(t)
  for (const id of ['user_1', 'user_2']) {
    await apply({ message: message(`applied_${id}`, { objectId: id, userId: id }), user: snapshot(id, T0) })
    await apply({
      message: message(`session_${id}`, { objectId: `sess_${id}`, userId: id }),
      session: session(`sess_${id}`, id, 'active', T0),
    })
    t.equal(await receive(`bad_${id}`, bad(id)), 'failed')
    t.equal(await receive(`bad_session_${id}`, badSession(id)), 'failed')
    t.equal(await receive(`torn_${id}`, `{"data":{"id":"${id}","email`), 'failed')
  }
  t.equal((await bodies()).length, 10)
  await apply({ user: deletion('user_1', T0 + 10) })
  t.strictSame(await bodies(), ['applied_user_2', 'bad_session_user_2', 'bad_user_2', 'session_user_2', 'torn_user_2'])
})

test('no later payload about a deleted user is stored', async (t) => {
  const { apply, bodies, receive } = await start(t)
  await apply({ user: deletion('user_1', T0 + 10) })
  for (const [id, body] of [
    ['a', bad('user_1', T0 + 20)],
    ['b', badSession('user_1')],
    ['c', '{"data":{"id":"user_1"'],
  ] as const) {
    t.equal(await receive(id, body), 'failed')
  }
  t.strictSame(await bodies(), [])
})

test('an inferred deletion erases older payloads, and keeps a failed one that may bring the user back', async (t) => {
  const { apply, bodies, receive } = await start(t)
  await receive('old', bad('user_1', T0))
  await apply({ user: snapshot('user_1', T0) }, { user: inferred('user_1', T0 + 10) })
  await receive('older', bad('user_1', T0 + 5))
  await receive('newer', bad('user_1', T0 + 20))
  t.strictSame(await bodies(), ['newer'])
})

test('a payload that fails while the user is being deleted is erased too', async (t) => {
  const { apply, bodies, receive } = await start(t)
  await apply({ user: snapshot('user_1', T0) })
  await Promise.all([
    ...Array.from({ length: 10 }, (_, i) => receive(`bad_${i}`, bad('user_1'))),
    apply({ user: deletion('user_1', T0 + 10) }),
    ...Array.from({ length: 10 }, (_, i) => receive(`bad_late_${i}`, bad('user_1'))),
  ])
  t.strictSame(await bodies(), [])
})

test('payloads are kept only of applied events, not of ignored or stale ones', async (t) => {
  const { apply, bodies, receive } = await start(t)
  await apply({ message: message('applied', { userId: 'user_1' }), user: snapshot('user_1', T0) })
  await apply({ message: message('stale', { userId: 'user_1' }), user: snapshot('user_1', T0 - 1) })
  const code = JSON.stringify({
    type: 'email.created',
    timestamp: 'not a time',
    data: { id: 'ema_1', otp_code: '424242' },
  })
  t.equal(await receive('ignored', code), 'ignored', 'of a type that is not ours nothing is demanded')
  t.strictSame(await bodies(), ['applied'])
})

test('a failed event is superseded by a newer one about the same object, before or after it failed', async (t) => {
  const { apply, repository, database, receive } = await start(t)
  const waiting = async () => (await repository.ledgerSummary()).failed
  await receive('first', bad('user_1', T0))
  t.equal(await waiting(), 1)
  await apply({ user: snapshot('user_1', T0 - 1) })
  t.equal(await waiting(), 1, 'not by an older one')
  await apply({ user: snapshot('user_1', T0 + 1) })
  t.equal(await waiting(), 0)
  await receive('late', bad('user_1', T0))
  t.equal(await waiting(), 0)
  t.equal((await repository.tableStatistics()).failedEvents, 0)
  t.strictSame(await repository.failedEvents({ isWaiting: true }, { limit: 10 }), [])
  t.equal((await repository.failedEvents({}, { limit: 10 })).length, 2, 'a replay takes them off the list')
  t.equal(await repository.supersede(), 2)
  t.match(await database.query('select distinct outcome, payload from webhook_events'), [
    { outcome: 'superseded', payload: null },
  ])
  t.strictSame(await apply({ message: message('first', { eventAt: T0 }), user: snapshot('user_1', T0) }), ['stale'])
})

test('a discarded event no longer waits, and a good delivery of it is still applied', async (t) => {
  const { apply, repository, bodies, receive } = await start(t)
  await receive('bad', bad('user_1'))
  t.strictSame(await repository.discard(['bad', 'unknown']), ['bad'])
  t.strictSame(await repository.discard(['bad']), [])
  t.equal((await repository.ledgerSummary()).failed, 0)
  t.strictSame(await bodies(), [])
  t.equal(await receive('bad', bad('user_1')), 'failed', 'and fails again')
  t.equal((await repository.ledgerSummary()).failed, 0)
  t.strictSame(await bodies(), [])
  t.strictSame(await apply({ message: message('bad', { userId: 'user_1' }), user: snapshot('user_1', T0) }), [
    'applied',
  ])
})

test('a concurrent end of a membership and deletion of its user leave no payload of that user', async (t) => {
  const { receive, bodies, database } = await start(t)
  const other = await startRepository(t, { storePayloads: true, database })
  for (let round = 0; round < 250; round += 1) {
    const user = `user_r${round}`
    const removed = left(`orgmem_r${round}`, 'org_1', user, T0 + 10)
    await Promise.all([
      receive(`removed_${round}`, JSON.stringify(removed)),
      other.apply({
        message: message(`deleted_${round}`, { type: 'user.deleted', objectId: user, userId: user, payload: '{}' }),
        user: deletion(user, T0 + 20),
      }),
    ])
  }
  t.strictSame(
    (await bodies()).filter((id) => id.startsWith('removed_')),
    [],
  )
})

import { type Test, test } from 'tap'
import type { FailedEventsFilter } from '../../src/db/failed-events.ts'
import { listFailedEvents, replayFailedEvents } from '../../src/jobs/replay.ts'
import { readReceivedEvent } from '../../src/resources/received-event.ts'
import { readFixture } from '../helpers/fixture.ts'
import { deletion, message, startRepository, T0 } from '../helpers/repository.ts'

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = []
  for await (const item of items) collected.push(item)
  return collected
}

async function start(t: Test) {
  const { repository, database } = await startRepository(t)
  /** Keeps an event as failed, received so many minutes after `T0`. */
  const keep = async (id: string, minutes: number, payload: string, type = 'user.updated') => {
    await repository.fail(message(id, { type, payload }), 'it was refused')
    await setReceived(id, minutes)
  }
  const setReceived = (id: string, minutes: number) =>
    database.query(`update webhook_events set received_at = to_timestamp($2::float8 / 1000) where id = $1`, [
      id,
      T0 + minutes * 60_000,
    ])
  const replay = async (filter?: FailedEventsFilter) =>
    (await collect(replayFailedEvents(repository, filter))).map(
      ({ event, outcome, error }) => `${event.id} ${outcome}${error ? `: ${error}` : ''}`,
    )
  return { repository, database, keep, replay }
}

function userEvent(id: string, change: object = {}) {
  const event = readFixture('user.updated')
  event.data = { ...event.data, id, ...change }
  return { event, payload: JSON.stringify(event) }
}

test('a replay applies failed messages like new ones, and removes them from the list', async (t) => {
  const { repository, database, keep, replay } = await start(t)
  await keep('msg_1', 1, userEvent('user_1').payload)
  await keep('msg_2', 2, userEvent('user_1', { updated_at: 1, first_name: 'Old' }).payload)
  await keep('msg_3', 3, JSON.stringify({ type: 'email.created', data: { id: 'ema_1' } }))
  t.strictSame(await replay(), ['msg_1 applied', 'msg_2 stale', 'msg_3 ignored'])
  const { event } = userEvent('user_1')
  t.strictSame(await database.query('select id, first_name from users'), [
    { id: 'user_1', first_name: event.data.first_name },
  ])
  const gone = { error: null, payload: null, attempts: 2 }
  t.strictSame(await database.query('select outcome, error, payload, attempts from webhook_events order by id'), [
    { outcome: 'applied', ...gone },
    { outcome: 'stale', ...gone },
    { outcome: 'ignored', ...gone },
  ])
  t.strictSame(await collect(listFailedEvents(repository)), [])
  t.strictSame(await replay(), [])
})

test('a message that fails again stays failed, with the new reason', async (t) => {
  const { database, keep, replay } = await start(t)
  await keep('msg_1', 1, 'no JSON')
  await keep('msg_2', 2, userEvent('', {}).payload)
  await keep('msg_3', 3, userEvent('user_3').payload)
  await keep('msg_4', 4, '')
  await database.query(`update webhook_events set payload = null where id = 'msg_4'`)
  await database.query(`alter table users add constraint no_three check (id <> 'user_3')`)
  const replayed = await replay()
  t.equal(replayed.length, 4)
  t.match(replayed, [
    'msg_1 failed: the body is not JSON',
    /^msg_2 failed: \/data\/id: /,
    /^msg_3 failed: .*no_three/,
    'msg_4 failed: its payload was not kept',
  ])
  const rows = await database.query('select outcome, error, attempts, payload from webhook_events order by id')
  t.equal(rows.length, 4)
  t.match(rows, [
    { outcome: 'failed', error: 'the body is not JSON', attempts: 2, payload: 'no JSON' },
    { outcome: 'failed', error: /data.id/, attempts: 2 },
    { outcome: 'failed', error: /no_three/, attempts: 2, payload: /user_3/ },
    { outcome: 'failed', error: 'it was refused', attempts: 1, payload: null },
  ])
  await database.query('alter table users drop constraint no_three')
  t.strictSame(await replay({ ids: ['msg_3'] }), ['msg_3 applied'])
})

test('failed messages are filtered by time, type and id', async (t) => {
  const { repository, keep } = await start(t)
  await keep('msg_1', 1, '{}', 'user.created')
  await keep('msg_2', 2, '{}', 'user.updated')
  await keep('msg_3', 3, '{}', 'user.created')
  const list = async (filter: FailedEventsFilter) =>
    (await collect(listFailedEvents(repository, filter))).map(({ id }) => id)
  t.strictSame(await list({}), ['msg_1', 'msg_2', 'msg_3'])
  t.strictSame(await list({ since: new Date(T0 + 120_000) }), ['msg_2', 'msg_3'])
  t.strictSame(await list({ type: 'user.created' }), ['msg_1', 'msg_3'])
  t.strictSame(await list({ ids: ['msg_3', 'msg_1', 'msg_9'] }), ['msg_1', 'msg_3'])
  t.strictSame(await list({ ids: ['msg_3', 'msg_2'], type: 'user.created', since: new Date(T0) }), ['msg_3'])
})

test('many failed messages are read in pages, each once, even if they have the same time and fail again', async (t) => {
  const { database, replay } = await start(t)
  await database.query(
    `insert into webhook_events (id, type, outcome, payload, received_at)
     select 'msg_' || lpad(n::text, 3, '0'), 'x', 'failed', '[]', to_timestamp(1e9 + n / 150) from generate_series(0, 249) n`,
  )
  const replayed = await replay()
  t.equal(replayed.length, 250)
  t.equal(new Set(replayed).size, 250)
  t.strictSame(replayed, replayed.toSorted())
})

test('a message that Svix delivered meanwhile is not applied twice', async (t) => {
  const { repository, keep } = await start(t)
  const { payload } = userEvent('user_1')
  await keep('msg_1', 1, payload)
  const failed = await collect(listFailedEvents(repository))
  const received = readReceivedEvent({ id: 'msg_1', sentAt: T0 }, payload, Date.now())
  if (!('change' in received)) throw new Error('the fixture is usable')
  await repository.apply([received.change])
  const replayed = await collect(replayFailedEvents({ ...repository, failedEvents: async () => failed }))
  t.strictSame(
    replayed.map(({ outcome }) => outcome),
    ['duplicate'],
  )
})

test('a replay does not revive a deleted user', async (t) => {
  const { repository, database, keep, replay } = await start(t)
  await repository.apply([{ user: deletion('user_1', T0) }])
  await keep('msg_1', 1, userEvent('user_1').payload)
  t.strictSame(await replay(), ['msg_1 stale'])
  t.strictSame(await database.query('select email, deleted_at is not null as deleted from users'), [
    { email: null, deleted: true },
  ])
})

test('an event without a timestamp is dated by the ledger', async (t) => {
  const { database, keep, replay } = await start(t)
  const body = JSON.stringify({ type: 'user.deleted', data: { id: 'user_1', deleted: true } })
  await keep('msg_1', 9, body)
  await keep('msg_2', 9, body.replace('user_1', 'user_2'))
  await database.query(`update webhook_events set event_at = null where id = 'msg_2'`)
  t.strictSame(await replay(), ['msg_1 applied', 'msg_2 applied'])
  t.strictSame(await database.query('select id, deleted_at from users order by id'), [
    { id: 'user_1', deleted_at: new Date(T0) },
    { id: 'user_2', deleted_at: new Date(T0 + 9 * 60_000) },
  ])
})

import { test } from 'tap'
import { readFixture } from '../../helpers/fixture.ts'
import { startService } from '../../helpers/service.ts'

const COUNT = 60
const LOCKED = 17

test('of 60 concurrent webhooks only the one whose row is locked is late or fails; the others are answered before', async (t) => {
  const { clerk, database, url } = await startService(t)
  const send = async (i: number, version: number): Promise<number> => {
    const event = readFixture('user.updated')
    const data = { ...event.data, id: `user_${i}`, updated_at: event.data.updated_at + version }
    const body = JSON.stringify({ ...event, timestamp: event.timestamp + version, data })
    const headers = { 'content-type': 'application/json', ...clerk.sign(body, { id: `msg_${i}_${version}` }) }
    const reply = await fetch(`${url}/clerk`, { method: 'POST', body, headers })
    await reply.text()
    return reply.status
  }
  const all = Array.from({ length: COUNT }, (_, i) => i)
  t.strictSame(await Promise.all(all.map((i) => send(i, 0))), Array(COUNT).fill(200))
  const application = await database.connect()
  t.teardown(() => application.release(true))
  // Rounds differ in what shares a batch with the locked one.
  for (let version = 1; version <= 3; version += 1) {
    await application.query('begin')
    await application.query('select 1 from users where id = $1 for update', [`user_${LOCKED}`])
    const answered: number[] = []
    const replies = all.map((i) =>
      send(i, version).then((status) => {
        answered.push(i)
        return status
      }),
    )
    const others = await Promise.all(replies.filter((_, i) => i !== LOCKED))
    t.strictSame(others, Array(COUNT - 1).fill(200))
    t.notOk(answered.slice(0, COUNT - 1).includes(LOCKED), 'the locked one comes last')
    t.strictSame(
      await database.query('select count(*)::int from webhook_events where id like $1', [`msg_%_${version}`]),
      [{ count: COUNT - 1 }],
      'they are committed while the lock is still held',
    )
    await application.query('rollback')
    const late = await replies[LOCKED]
    if (late !== 200) t.equal(late, 503)
    t.equal(await send(LOCKED, version), 200, 'and its redelivery is taken')
    t.strictSame(
      await database.query('select outcome, count(*)::int from webhook_events where id like $1 group by outcome', [
        `msg_%_${version}`,
      ]),
      [{ outcome: 'applied', count: COUNT }],
    )
  }
})

test('while many rows are locked, every other webhook is answered, and the pool is not exceeded', async (t) => {
  const { clerk, database, url, app } = await startService(t)
  const users = Array.from({ length: 40 }, () => clerk.createUser())
  await clerk.webhooks.idle()
  const application = await database.connect()
  t.teardown(() => application.release(true))
  await application.query('begin; select 1 from users for update')
  clerk.webhooks.url = `${url}/clerk`
  const body = (id: string, version: number) => {
    const event = readFixture('user.updated')
    return JSON.stringify({ ...event, data: { ...event.data, id, updated_at: event.data.updated_at + version } })
  }
  const send = async (id: string, messageId: string): Promise<number> => {
    const text = body(id, 1)
    const headers = { 'content-type': 'application/json', ...clerk.sign(text, { id: messageId }) }
    const reply = await fetch(`${url}/clerk`, { method: 'POST', body: text, headers })
    await reply.text()
    return reply.status
  }
  const locked = users.map(({ id }, i) => send(id, `msg_locked_${i}`))
  const free = Array.from({ length: 40 }, (_, i) => send(`user_free_${i}`, `msg_free_${i}`))
  t.strictSame(await Promise.all(free), Array(40).fill(200))
  t.ok(app.clerkDatabasePool().total <= 10)
  await application.query('rollback')
  for (const status of await Promise.all(locked)) t.match(String(status), /^(200|503)$/)
})

import { type Test, test } from 'tap'
import { findDeadLetters, reviveDeadLetters } from '../../../src/db/changes/consumers.ts'
import { createPool } from '../../../src/db/pool.ts'
import { PUSH_SECRET, startChangeReceiver } from '../../helpers/change-receiver.ts'
import { type ServiceOptions, startService } from '../../helpers/service.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

async function startPush(t: Test, scheduleMs: readonly number[] | undefined, options: ServiceOptions = {}) {
  const receiver = await startChangeReceiver(t)
  const settings = { CHANGES: 'true', CHANGES_WEBHOOK_URL: receiver.url, CHANGES_WEBHOOK_SECRET: PUSH_SECRET }
  const start = (beside?: ServiceOptions['beside']) =>
    startService(t, {
      ...options,
      beside,
      settings,
      change: ({ changes, ...rest }) => ({
        ...rest,
        changes: { ...changes, leaseTtlMs: 600, webhook: { ...changes?.webhook, scheduleMs } as never },
      }),
    })
  const service = await start()
  const pool = createPool({ connectionString: service.database.url, onError: () => undefined })
  t.teardown(() => pool.end())
  return { ...service, receiver, pool, start }
}

const told = (receiver: { received: { type: string; entityId: string }[] }) =>
  receiver.received.map(({ type, entityId }) => `${type} ${entityId}`)

test('changes are pushed as Standard Webhooks, in the order of each entity', async (t) => {
  const { clerk, receiver, database } = await startPush(t, undefined)
  const users = Array.from({ length: 20 }, () => clerk.createUser())
  await clerk.webhooks.idle()
  for (const { id } of users) clerk.updateUser(id, { firstName: 'B' })
  await clerk.webhooks.idle()
  for (const { id } of users) clerk.deleteUser(id)
  await clerk.webhooks.idle()
  await waitUntil('all of them', async () => receiver.received.length === 60)
  for (const { id } of users) {
    t.strictSame(
      receiver.received
        .filter(({ entityId }) => entityId === id)
        .map(({ type, changed, cause }) => [type, changed, cause]),
      [
        ['user.created', [], 'webhook'],
        ['user.updated', ['first_name'], 'webhook'],
        ['user.deleted', [], 'webhook'],
      ],
    )
  }
  const ids = await database.query("select 'chg_' || seq as id from changes")
  t.strictSame(receiver.received.map(({ id }) => id).sort(), ids.map(({ id }) => id).sort())
})

test('a failed delivery holds back only later changes of its entity, and is retried by the schedule', async (t) => {
  const { clerk, receiver, database } = await startPush(t, [1_000, 0])
  const [bad, good] = [clerk.createUser(), clerk.createUser()]
  let refusals = 2
  receiver.answer = ({ entityId }) => (entityId === bad.id && refusals-- > 0 ? 500 : 204)
  await clerk.webhooks.idle()
  clerk.updateUser(bad.id, { firstName: 'B' })
  await clerk.webhooks.idle()
  clerk.updateUser(good.id, { firstName: 'B' })
  await waitUntil('those of the other', async () => told(receiver).includes(`user.updated ${good.id}`))
  t.notOk(told(receiver).includes(`user.updated ${bad.id}`))
  await waitUntil('the rest', async () => told(receiver).includes(`user.updated ${bad.id}`))
  t.strictSame(
    told(receiver).filter((line) => line.endsWith(bad.id)),
    [...Array(3).fill(`user.created ${bad.id}`), `user.updated ${bad.id}`],
  )
  await waitUntil('nothing kept', async () => (await database.query('select from change_deliveries')).length === 0)
})

test('after the last retry a delivery is given up, later ones continue, and an operator can send it again', async (t) => {
  const { clerk, receiver, pool, call } = await startPush(t, [0, 0])
  const { id } = clerk.createUser()
  let isRefusing = true
  receiver.answer = ({ type }) => (isRefusing && type === 'user.created' ? 410 : 200)
  await clerk.webhooks.idle()
  clerk.updateUser(id, { firstName: 'B' })
  await waitUntil('the next', async () => told(receiver).includes(`user.updated ${id}`))
  t.strictSame(told(receiver), [...Array(3).fill(`user.created ${id}`), `user.updated ${id}`])
  await waitUntil('a dead letter', async () => (await findDeadLetters(pool)).length === 1)
  const [letter] = await findDeadLetters(pool)
  t.match(letter, { consumer: 'webhook', type: 'user.created', entityId: id, attempts: 3, error: 'answered 410' })
  t.match(await call('/readyz'), {
    status: 200,
    body: { status: 'degraded', checks: { changes: { status: 'degraded', reason: /1 change was given up/ } } },
  })
  isRefusing = false
  t.strictSame(await reviveDeadLetters(pool, { ids: ['chg_0'] }), [])
  t.strictSame(await reviveDeadLetters(pool, { ids: [letter?.id as string], consumer: 'webhook' }), [
    { consumer: 'webhook', id: letter?.id },
  ])
  await waitUntil('it once more', async () => told(receiver).length === 5)
  t.equal(told(receiver)[4], `user.created ${id}`)
  await waitUntil(
    'nothing kept',
    async () =>
      (await pool.query({ name: '', text: 'select from clerk.change_deliveries', values: [] })).rows.length === 0,
  )
})

test('one of two replicas delivers at a time, and the other takes over', async (t) => {
  const first = await startPush(t, [0])
  const { clerk, receiver, start, database } = first
  const second = await start(first)
  const create = async (count: number) => {
    for (let i = 0; i < count; i += 1) clerk.createUser()
    await clerk.webhooks.idle()
  }
  await create(10)
  await waitUntil('10', async () => receiver.received.length === 10)
  clerk.webhooks.url = `${second.url}/clerk`
  await first.app.close()
  await create(10)
  await waitUntil('20', async () => new Set(receiver.received.map(({ id }) => id)).size === 20)
  t.equal(receiver.received.length, 20, 'none twice, since the first had written down how far it was')
  await second.app.close()
  // Nobody delivers; what comes meanwhile is delivered by the next.
  await database.query("insert into users (id, sync_source) values ('user_meanwhile', 'x')")
  await start(first)
  await waitUntil('21', async () => receiver.received.length === 21)
  t.equal(told(receiver)[20], 'user.created user_meanwhile')
})

test('a receiver that hangs, resets or answers without end delays nobody but itself', async (t) => {
  const { clerk, receiver, call } = await startPush(t, [0])
  const users = Array.from({ length: 3 }, () => clerk.createUser())
  const [hangs, resets, talks] = users.map(({ id }) => id)
  receiver.answer = ({ entityId }, response) => {
    if (entityId === hangs) return undefined
    if (entityId === resets) response.destroy()
    else if (entityId === talks) {
      response.writeHead(200)
      const timer = setInterval(() => response.write('x'.repeat(16_384)), 1)
      response.once('close', () => clearInterval(timer))
    } else return 200
    return undefined
  }
  await clerk.webhooks.idle()
  const good = clerk.createUser()
  await clerk.webhooks.idle()
  await waitUntil('the good one', async () => told(receiver).includes(`user.created ${good.id}`))
  t.match(await call('/readyz'), { status: 200 })
})

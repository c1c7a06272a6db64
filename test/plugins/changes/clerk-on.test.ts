import { test } from 'tap'
import type { FeedChange } from '../../../src/domain/feed.ts'
import type { ClerkOnHandler } from '../../../src/plugins/changes/index.ts'
import { startService } from '../../helpers/service.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

const settings = { CHANGES: 'true' }

test('a handler gets each change of its types, by its name, across restarts', async (t) => {
  const calls: FeedChange[] = []
  const others: string[] = []
  const start = (beside?: Parameters<typeof startService>[1]) =>
    startService(t, {
      settings,
      ...beside,
      onReadyToUse: (app) => {
        app.clerkOn('user.created', { name: 'welcome-mail' }, async (change) => calls.push(change))
        app.clerkOn(['user.updated', 'user.deleted'], { name: 'others' }, ({ op, entityId }) =>
          others.push(`${op} ${entityId}`),
        )
      },
    })
  const first = await start()
  const { clerk, database } = first
  const ada = clerk.createUser()
  await clerk.webhooks.idle()
  clerk.updateUser(ada.id, { firstName: 'Ada' })
  await clerk.webhooks.idle()
  clerk.deleteUser(ada.id)
  await waitUntil('the calls', async () => calls.length === 1 && others.length === 2)
  t.match(calls[0], { entity: 'user', entityId: ada.id, op: 'created', changed: [], cause: 'webhook' })
  t.strictSame(others, [`updated ${ada.id}`, `deleted ${ada.id}`])
  await first.app.close()
  await database.query("insert into users (id, sync_source) values ('user_meanwhile', 'x')")
  await start({ beside: first })
  await waitUntil('what came meanwhile', async () => calls.length === 2)
  t.equal(calls[1]?.entityId, 'user_meanwhile')
  const consumers = await database.query('select name from change_consumers order by 1')
  t.strictSame(consumers, [{ name: 'others' }, { name: 'welcome-mail' }])
})

test('a handler that throws, rejects or takes too long is called again', async (t) => {
  const attempts: number[] = []
  let aborted = false
  const handler: ClerkOnHandler = (_change, { attempt, signal }) => {
    attempts.push(attempt)
    if (attempt === 1) throw new Error('at once')
    if (attempt === 2) return Promise.reject(new Error('later'))
    if (attempt === 3) return new Promise(() => signal.addEventListener('abort', () => (aborted = true)))
    return undefined
  }
  const { clerk, app } = await startService(t, {
    settings,
    onReadyToUse: (app) =>
      app.clerkOn('user.created', { name: 'fragile', timeoutMs: 100, scheduleMs: [0, 0, 0] }, handler),
  })
  clerk.createUser()
  await waitUntil('the fourth', async () => attempts.length === 4)
  t.strictSame([attempts, aborted], [[1, 2, 3, 4], true])
  await waitUntil('nothing waits', async () => {
    const { consumers } = await app.clerkChangesStatus()
    return consumers[0]?.waiting === 0 && consumers[0].behind === 0
  })
})

test('wrong handlers are refused', async (t) => {
  const none = () => undefined
  await startService(t, {
    settings,
    onReadyToUse(app) {
      t.throws(() => app.clerkOn('user.exploded' as never, { name: 'x' }, none), /unknown type: user.exploded/)
      t.throws(() => app.clerkOn([], { name: 'x' }, none), TypeError)
      t.throws(() => app.clerkOn('user.created', { name: '' }, none), /needs a name/)
      t.throws(() => app.clerkOn('user.created', { name: 'webhook' }, none), /already used/)
      app.clerkOn('user.created', { name: 'x' }, none)
      t.throws(() => app.clerkOn('user.created', { name: 'x' }, none), /already used/)
    },
  }).then(({ app }) => t.throws(() => app.clerkOn('user.created', { name: 'late' }, none), /before the app is ready/))
})

test("the message of a handler's error is never stored or logged, because it may contain personal data", async (t) => {
  const errors = [
    'about somebody',
    new Error('about somebody'),
    Object.assign(new Error('about somebody'), { code: 'EMAIL' }),
  ]
  const { clerk, app, database } = await startService(t, {
    settings,
    onReadyToUse: (app) =>
      app.clerkOn('user.created', { name: 'mail', scheduleMs: [] }, () => {
        throw errors.pop()
      }),
  })
  for (let i = 0; i < 3; i += 1) clerk.createUser()
  await waitUntil('three given up', async () => (await app.clerkChangesStatus()).consumers[0]?.dead === 3)
  const kept = await database.query('select error from change_deliveries order by 1')
  t.strictSame(
    kept.map(({ error }) => error),
    ['Error', 'Error EMAIL', 'not an Error'],
  )
})

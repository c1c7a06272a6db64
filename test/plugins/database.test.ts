import Fastify from 'fastify'
import { test } from 'tap'
import type { Change } from '../../src/domain/change.ts'
import database from '../../src/plugins/database.ts'
import { createDatabase } from '../helpers/database.ts'
import { keptLogger } from '../helpers/run-log.ts'

const change = (n: number): Change => ({
  message: { id: `msg_${n}`, type: 'email.created', objectId: null, eventAt: null, payload: 'x'.repeat(100) },
})

test('waiting changes share a transaction, each with its own outcome', async (t) => {
  const { url, query } = await createDatabase(t)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(database, { connectionString: url, batching: { maxBatchLength: 1_000 } })
  const outcomes = await Promise.all([1, 2, 3, 3, 4].map((n) => app.clerkRepository.apply(change(n))))
  t.strictSame(
    outcomes.map((result) => 'outcome' in result && result.outcome),
    ['ignored', 'ignored', 'ignored', 'duplicate', 'ignored'],
  )
  const rows = await query(
    'select count(distinct xmin::text)::int as transactions, count(*)::int as rows from webhook_events',
  )
  t.strictSame(rows, [{ transactions: 1, rows: 4 }])
  await app.clerkRepository.apply({})
})

test('if too many changes wait, another one is refused with 503', async (t) => {
  const { url } = await createDatabase(t)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(database, { connectionString: url, batching: { maxWaiting: 1 } })
  const first = app.clerkRepository.findAuthState({ userId: 'user_a', sessionId: null })
  await t.rejects(app.clerkRepository.findAuthState({ userId: 'user_b', sessionId: null }), {
    code: 'DATABASE_UNAVAILABLE',
    statusCode: 503,
  } as never)
  t.match(await first, { user: undefined, isDeleted: false })
})

test('if the waiting payloads are too long together, another change is refused with 503', async (t) => {
  const { url } = await createDatabase(t)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(database, { connectionString: url, batching: { maxWaitingLength: 100 } })
  const webhook = (id: string): Change => ({
    message: { id, type: 'email.created', objectId: null, eventAt: null, payload: 'x'.repeat(60) },
  })
  const first = app.clerkRepository.apply(webhook('msg_1'))
  await t.rejects(app.clerkRepository.apply(webhook('msg_2')), { code: 'DATABASE_UNAVAILABLE' } as never)
  t.match(await first, { outcome: 'ignored' })
})

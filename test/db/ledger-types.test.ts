import { test } from 'tap'
import { findLedgerTypes, findOldestMessage } from '../../src/db/ledger-types.ts'
import { findUserHistory } from '../../src/db/user-history.ts'
import { startRepository } from '../helpers/repository.ts'

test('of a large ledger only the newest messages are read, by the index, and the oldest and all failed ones', async (t) => {
  const { pool, database } = await startRepository(t)
  t.equal(await findOldestMessage(pool), undefined)
  await database.query(`insert into webhook_events (id, type, object_id, outcome, received_at)
    select 'msg_' || n, 'session.created', 'sess_' || n, 'applied', now() from generate_series(1, 100000) n`)
  const old = '2026-01-02T03:04:05.000Z'
  for (const [type, outcome] of [
    ['user.created', 'applied'],
    ['user.deleted', 'failed'],
    ['clerk-session-sync.test', 'ignored'],
  ]) {
    await database.query(
      `insert into webhook_events (id, type, object_id, outcome, received_at)
       values ('msg_' || $1::text, $1, 'user_1', $2, $3::timestamptz - case $2 when 'ignored' then interval '1 day' else '0' end)`,
      [type, outcome, old],
    )
  }
  t.match(await findLedgerTypes(pool), [
    { type: 'session.created', messages: 100_000, failed: 0 },
    { type: 'user.deleted', messages: 0, failed: 1, lastReceivedAt: new Date(old) },
  ])
  t.equal((await findLedgerTypes(pool)).length, 2)
  t.strictSame(await findOldestMessage(pool), new Date(old))
  t.strictSame((await findUserHistory(pool, 'user_1')).events, [])
})

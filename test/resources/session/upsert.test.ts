import { type Test, test } from 'tap'
import type { Change } from '../../../src/domain/change.ts'
import { FINAL_SESSION_STATUSES } from '../../../src/resources/session/change.ts'
import { at, deletion, session, snapshot, startRepository, T0 } from '../../helpers/repository.ts'

async function start(t: Test) {
  const it = await startRepository(t)
  const row = async (id = 'sess_1') => {
    const [found] = await it.database.query('select *, xmin::text from sessions where id = $1', [id])
    return found
  }
  return {
    ...it,
    row,
    write: (...states: Change['session'][]) => it.applyInTurn(...states.map((s) => ({ session: s }))),
  }
}

test('a session is stored with every time', async (t) => {
  const { write, row } = await start(t)
  t.strictSame(await write(session('sess_1', 'user_1', 'active', T0 + 1, T0 + 2)), ['applied'])
  t.match(await row(), {
    user_id: 'user_1',
    status: 'active',
    ended_by_deletion: false,
    client_id: 'client_sess_1',
    clerk_created_at: at(T0),
    clerk_updated_at: at(T0 + 1),
    clerk_event_at: at(T0 + 2),
    last_active_at: at(T0 + 1),
    expire_at: at(T0 + 9e8),
    abandon_at: at(T0 + 9e9),
  })
  await write({
    ...session('sess_2', 'user_1', 'active', T0),
    createdAt: null,
    lastActiveAt: null,
    expireAt: null,
    abandonAt: null,
  })
  t.match(await row('sess_2'), { clerk_created_at: null, last_active_at: null, expire_at: null, abandon_at: null })
})

test('the newer state wins, and an older one writes nothing', async (t) => {
  const { write, row } = await start(t)
  await write(session('sess_1', 'user_1', 'pending', T0, T0 + 1), session('sess_1', 'user_1', 'active', T0 + 5))
  const before = await row()
  t.match(before, { status: 'active' })
  t.strictSame(
    await write(
      session('sess_1', 'user_1', 'pending', T0 + 4, T0 + 9),
      session('sess_1', 'user_1', 'pending', T0 + 5, T0 + 4),
      session('sess_1', 'user_1', 'pending', T0 + 5, null),
    ),
    ['stale', 'stale', 'stale'],
  )
  t.strictSame(await row(), before)
  const again = session('sess_1', 'user_1', 'pending', T0 + 5, T0 + 6)
  t.strictSame(await write(again, again), ['applied', 'applied'], 'it may become pending again; the same again counts')
})

test('a session in a final state stays in one, whatever the dates', async (t) => {
  const { write, row } = await start(t)
  for (const [i, status] of FINAL_SESSION_STATUSES.entries()) {
    const id = `sess_${i}`
    t.strictSame(
      await write(
        session(id, 'user_1', 'active', T0 + 5),
        session(id, 'user_1', status, T0),
        session(id, 'user_1', 'active', T0 + 9),
      ),
      ['applied', 'applied', 'stale'],
    )
    t.match(await row(id), { status, clerk_updated_at: at(T0) })
  }
})

test('among final states the newest wins, then the later event, then the name', async (t) => {
  const { write, row } = await start(t)
  t.strictSame(
    await write(
      session('sess_1', 'user_1', 'removed', T0),
      session('sess_1', 'user_1', 'ended', T0 + 1),
      session('sess_1', 'user_1', 'revoked', T0),
      session('sess_1', 'user_1', 'abandoned', T0 + 1, T0 + 2),
      session('sess_1', 'user_1', 'expired', T0 + 1, T0 + 2),
      session('sess_1', 'user_1', 'ended', T0 + 1, T0 + 2),
    ),
    ['applied', 'applied', 'stale', 'applied', 'applied', 'stale'],
  )
  t.match(await row(), { status: 'expired' })
})

test('a deletion ends the active sessions of its user, and no others', async (t) => {
  const { apply, database } = await start(t)
  await apply(
    { session: session('sess_1', 'user_1', 'active', T0) },
    { session: session('sess_2', 'user_1', 'pending', T0) },
    { session: session('sess_3', 'user_1', 'revoked', T0) },
    { session: session('sess_4', 'user_2', 'active', T0) },
  )
  await database.query("update sessions set updated_at = 'yesterday'")
  await apply({ user: deletion('user_1', T0) })
  const rows = await database.query(
    'select id, status, ended_by_deletion, updated_at > created_at as moved from sessions order by id',
  )
  t.strictSame(rows, [
    { id: 'sess_1', status: 'ended', ended_by_deletion: true, moved: true },
    { id: 'sess_2', status: 'ended', ended_by_deletion: true, moved: true },
    { id: 'sess_3', status: 'revoked', ended_by_deletion: false, moved: false },
    { id: 'sess_4', status: 'active', ended_by_deletion: false, moved: false },
  ])
})

test('a session of a deleted user is stored as ended, in the same batch or later', async (t) => {
  const { apply, row } = await start(t)
  await apply({ session: session('sess_1', 'user_1', 'active', T0) }, { user: deletion('user_1', T0) })
  t.match(await row(), { status: 'ended' })
  t.strictSame(await apply({ session: session('sess_2', 'user_1', 'pending', T0) }), ['applied'])
  t.match(await row('sess_2'), { status: 'ended', ended_by_deletion: true })
  t.strictSame(
    await apply({
      session: session('sess_3', 'user_1', 'active', T0),
      user: snapshot('user_1', T0 + 9, { email: 'a@b.c' }),
    }),
    ['applied'],
    'applied by its session, although its user is a tombstone',
  )
  t.match(await row('sess_3'), { status: 'ended' })
})

test('an end by an event takes precedence over an end by the deletion, in any order', async (t) => {
  const { write, apply, row } = await start(t)
  const [active, revoked] = ['active', 'revoked'].map(
    (status) => (id: string, at: number) => session(id, 'user_1', status, at),
  )
  await write(revoked?.('sess_1', T0), active?.('sess_1', T0 + 9))
  await apply({ user: deletion('user_1', T0) })
  await write(active?.('sess_1', T0 + 9))
  await write(active?.('sess_2', T0 + 9), revoked?.('sess_2', T0))
  for (const id of ['sess_1', 'sess_2']) {
    t.match(await row(id), { status: 'revoked', ended_by_deletion: false, clerk_updated_at: at(T0) })
  }
})

test('a session event counts as applied when its session or its user was written', async (t) => {
  const { applyInTurn, row, database } = await start(t)
  await applyInTurn(
    { user: snapshot('user_1', T0 + 5, { firstName: 'New' }) },
    { session: session('sess_1', 'user_1', 'ended', T0 + 5) },
  )
  const stale = session('sess_1', 'user_1', 'active', T0)
  t.strictSame(
    await applyInTurn(
      { session: session('sess_2', 'user_1', 'active', T0), user: snapshot('user_1', T0, { firstName: 'Old' }) },
      { session: stale, user: snapshot('user_1', T0 + 6, { firstName: 'Newer' }) },
      { session: stale, user: snapshot('user_1', T0, { firstName: 'Old' }) },
      { session: stale },
    ),
    ['applied', 'applied', 'stale', 'stale'],
  )
  t.match(await row(), { status: 'ended' })
  t.match(await database.query('select first_name from users'), [{ first_name: 'Newer' }])
})

import { type Test, test } from 'tap'
import { findAuthStates } from '../../../src/resources/auth-state.ts'
import type { UserChange } from '../../../src/resources/user/change.ts'
import {
  at,
  claims,
  deletion,
  SECOND,
  snapshot,
  startRepository,
  T0,
  type TestRepository,
} from '../../helpers/repository.ts'

async function start(t: Test) {
  const it = await startRepository(t)
  const write = (...users: UserChange[]) => it.applyInTurn(...users.map((user) => ({ user })))
  return { ...it, write, row: () => rowOf(it) }
}

async function rowOf({ database }: TestRepository) {
  const [row] = await database.query("select *, xmin::text, ctid::text from users where id = 'user_1'")
  return row
}

test('a snapshot creates a row with every column', async (t) => {
  const { write, row } = await start(t)
  const profile = {
    email: 'ada@example.com',
    emailVerified: true,
    firstName: 'Ada',
    lastName: 'Lovelace',
    username: 'ada',
    imageUrl: 'https://img.clerk.com/ada',
    publicMetadata: { plan: 'pro' },
    lastSignInAt: T0 + 1,
  }
  t.strictSame(await write(snapshot('user_1', T0 + 2, { ...profile, banned: true, eventAt: T0 + 3 })), ['applied'])
  t.match(await row(), {
    email: 'ada@example.com',
    email_verified: true,
    first_name: 'Ada',
    last_name: 'Lovelace',
    username: 'ada',
    image_url: 'https://img.clerk.com/ada',
    public_metadata: { plan: 'pro' },
    last_sign_in_at: at(T0 + 1),
    banned: true,
    clerk_created_at: at(T0),
    clerk_updated_at: at(T0 + 2),
    clerk_event_at: at(T0 + 3),
    sync_source: 'webhook',
    deleted_at: null,
  })
})

test('times are stored to the millisecond', async (t) => {
  const { write, repository } = await start(t)
  const times = Array.from({ length: 200 }, (_, i) => T0 + i * 86_400_123 + i)
  await write(...times.map((time, i) => snapshot(`user_${i}`, time, { lastSignInAt: time })))
  const states = await repository.findAuthStates(times.map((_, i) => ({ userId: `user_${i}`, sessionId: null })))
  t.strictSame(
    states.map(({ user }) => user?.lastSignInAt),
    times.map((time) => new Date(time).toISOString()),
  )
})

test('an older event leaves the row untouched', async (t) => {
  const { write, row } = await start(t)
  await write(snapshot('user_1', T0 + 5, { firstName: 'New' }))
  const before = await row()
  t.strictSame(
    await write(
      snapshot('user_1', T0 + 4, { firstName: 'Old', eventAt: T0 + 99 }),
      snapshot('user_1', T0 + 5, { firstName: 'Old', eventAt: T0 + 4 }),
      snapshot('user_1', T0 + 5, { firstName: 'Old', eventAt: null }),
    ),
    ['stale', 'stale', 'stale'],
  )
  t.strictSame(await row(), before, 'not even rewritten')
})

test('between equal updated_at the envelope decides, and an answer of the Backend API has none', async (t) => {
  const { write, row } = await start(t)
  await write(
    snapshot('user_1', T0, { firstName: 'api', eventAt: null }),
    snapshot('user_1', T0, { firstName: 'first event', eventAt: T0 }),
    snapshot('user_1', T0, { firstName: 'second event', eventAt: T0 + 1 }),
  )
  t.match(await row(), { first_name: 'second event', sync_source: 'webhook' })
  t.strictSame(await write(snapshot('user_1', T0 + 1, { firstName: 'newer api', eventAt: null })), ['applied'])
  t.match(await row(), { first_name: 'newer api', sync_source: 'clerk_api', clerk_event_at: null })
})

test('updated_at moves only when something in the row changed', async (t) => {
  const { database, write, row } = await start(t)
  await write(snapshot('user_1', T0, { firstName: 'Ada', publicMetadata: { a: 1, b: [2] } }))
  const setBack = () => database.query("update users set created_at = 'yesterday', updated_at = 'yesterday'")
  await setBack()
  const { created_at, updated_at } = (await row()) ?? {}

  await write(snapshot('user_1', T0, { firstName: 'Ada', publicMetadata: { b: [2], a: 1 } }))
  const isUnmoved = { updated_at: at(updated_at), created_at: at(created_at) }
  t.match(await row(), isUnmoved, 'the same event under another id')
  await write(snapshot('user_1', T0 + 1, { firstName: 'Ada', publicMetadata: { a: 1, b: [2] } }))
  t.match(await row(), { ...isUnmoved, clerk_updated_at: at(T0 + 1) }, 'a newer version that says the same')
  await write(claims('user_1', T0 + SECOND, { firstName: 'Ada' }))
  t.match(await row(), { ...isUnmoved, claims_issued_at: at(T0 + SECOND) }, 'claims that say the same')

  const changes: UserChange[] = [
    snapshot('user_1', T0 + 2, { firstName: 'Augusta', publicMetadata: { a: 1, b: [2] } }),
    snapshot('user_1', T0 + 3, { firstName: 'Augusta', publicMetadata: { a: 1, b: [2] }, banned: true }),
    snapshot('user_1', T0 + 4, { firstName: 'Augusta', publicMetadata: { a: 2 } }),
    claims('user_1', T0 + 2 * SECOND, { lastName: 'King' }),
    deletion('user_1', T0 + 3 * SECOND),
  ]
  for (const change of changes) {
    t.strictSame(await write(change), ['applied'])
    const after = await row()
    t.ok(after?.updated_at > updated_at, `${change.kind} moves it`)
    t.strictSame(after?.created_at, created_at)
    await setBack()
  }
})

test('an unchanged answer of the Backend API is not written again; a changed one with the same version is', async (t) => {
  const { write, row } = await start(t)
  await write(snapshot('user_1', T0, { firstName: 'Ada', eventAt: null }))
  const before = await row()
  t.strictSame(await write(snapshot('user_1', T0, { firstName: 'Ada', eventAt: null })), ['stale'])
  t.strictSame(await row(), before)
  t.strictSame(await write(snapshot('user_1', T0, { firstName: 'Ada', banned: true, eventAt: null })), ['applied'])
  t.match(await row(), { banned: true })
})

test('claims create a row with the columns that they name, and set no version', async (t) => {
  const { write, row } = await start(t)
  t.strictSame(await write(claims('user_1', T0, { email: 'ada@example.com' })), ['applied'])
  t.match(await row(), {
    email: 'ada@example.com',
    first_name: null,
    banned: false,
    clerk_updated_at: null,
    claims_issued_at: at(T0),
    claims_columns: ['email'],
    sync_source: 'session_claims',
  })
  t.strictSame(await write(snapshot('user_1', T0 - 1e9, { firstName: 'Ada' })), ['applied'], 'any snapshot is newer')
  t.match(await row(), { email: null, first_name: 'Ada', clerk_updated_at: at(T0 - 1e9), sync_source: 'webhook' })
})

test('claims without a profile create an empty row', async (t) => {
  const { write, row } = await start(t)
  t.strictSame(await write(claims('user_1', T0, {})), ['applied'])
  t.match(await row(), { email: null, public_metadata: {}, claims_columns: [] })
  const before = await row()
  t.strictSame(await write(claims('user_1', T0, {})), ['stale'])
  t.strictSame(await row(), before, 'the same token again writes nothing')
})

test('claims overwrite what they name when they are strictly newer than the version, and never move it', async (t) => {
  const { write, row } = await start(t)
  await write(snapshot('user_1', T0 + SECOND, { firstName: 'Ada', lastName: 'Lovelace', banned: true }))
  const before = await row()
  t.strictSame(
    await write(claims('user_1', T0, { firstName: 'Old' }), claims('user_1', T0 + SECOND, { firstName: 'Old' })),
    ['stale', 'stale'],
  )
  t.strictSame(await row(), before)
  t.strictSame(await write(claims('user_1', T0 + 2 * SECOND, { firstName: 'New', email: null })), ['applied'])
  t.match(await row(), {
    first_name: 'New',
    last_name: 'Lovelace',
    banned: true,
    clerk_created_at: at(T0),
    clerk_updated_at: at(T0 + SECOND),
    clerk_event_at: at(T0 + SECOND),
    sync_source: 'session_claims',
  })
  t.strictSame(await write(snapshot('user_1', T0 + 1.5 * SECOND, { firstName: 'Under way' })), ['applied'])
  t.match(await row(), { first_name: 'Under way' }, 'a snapshot under way was not taken for stale')
})

test('claims must be strictly newer than the claims before', async (t) => {
  const { write, row } = await start(t)
  await write(snapshot('user_1', T0, {}), claims('user_1', T0 + 2 * SECOND, { firstName: 'New' }))
  const before = await row()
  t.strictSame(
    await write(
      claims('user_1', T0 + SECOND, { firstName: 'Old' }),
      claims('user_1', T0 + 2 * SECOND, { firstName: 'Same' }),
    ),
    ['stale', 'stale'],
  )
  t.strictSame(await row(), before)
})

test('on a row without a version, older claims fill what no newer ones named', async (t) => {
  const { write, row } = await start(t)
  t.strictSame(
    await write(
      claims('user_1', T0 + 9 * SECOND, { firstName: 'New', email: null }),
      claims('user_1', T0, { firstName: 'Old', lastName: 'Old', email: 'old@example.com' }),
      claims('user_1', T0 + SECOND, { firstName: 'Old', lastName: 'Late' }),
    ),
    ['applied', 'applied', 'stale'],
  )
  t.match(await row(), {
    first_name: 'New',
    last_name: 'Old',
    email: null,
    claims_issued_at: at(T0 + 9 * SECOND),
    claims_columns: ['email', 'first_name', 'last_name'],
  })
})

test('a deletion leaves nothing but the tombstone, and nothing brings the user back', async (t) => {
  const { write, row } = await start(t)
  await write(
    snapshot('user_1', T0, { email: 'ada@example.com', emailVerified: true, publicMetadata: { a: 1 }, banned: true }),
    claims('user_1', T0 + SECOND, { firstName: 'Ada' }),
  )
  t.strictSame(await write(deletion('user_1', T0 - 1)), ['applied'], 'whatever its date')
  const tombstone = {
    email: null,
    email_verified: null,
    first_name: null,
    last_name: null,
    username: null,
    image_url: null,
    public_metadata: {},
    last_sign_in_at: null,
    banned: false,
    clerk_created_at: null,
    clerk_updated_at: at(T0 - 1),
    clerk_event_at: at(T0 - 1),
    claims_issued_at: null,
    claims_columns: null,
    sync_source: 'webhook',
    deleted_at: at(T0 - 1),
  }
  const before = await row()
  t.match(before, tombstone)
  t.strictSame(
    await write(
      snapshot('user_1', T0 + 1e9, { email: 'back@example.com' }),
      snapshot('user_1', T0 + 1e9, { email: 'back@example.com', eventAt: null }),
      claims('user_1', T0 + 1e9, { email: 'back@example.com' }),
      deletion('user_1', T0 + 1e9),
    ),
    ['stale', 'stale', 'stale', 'stale'],
  )
  t.strictSame(await row(), before)
})

test('a deletion may be the first event of a user', async (t) => {
  const { write, row } = await start(t)
  t.strictSame(await write(deletion('user_1', T0), snapshot('user_1', T0 + 1, { email: 'a@b.c' })), [
    'applied',
    'stale',
  ])
  t.match(await row(), { email: null, deleted_at: at(T0) })
})

test('a single-row read uses the generic plan', async (t) => {
  const { database, pool } = await startRepository(t, { max: 1 })
  await database.query(
    `insert into users (id, sync_source) select 'user_' || n, 'webhook' from generate_series(1, 5000) n`,
  )
  await database.query(`insert into sessions (id, user_id, status, clerk_updated_at)
    select 'sess_' || n, 'user_' || n, 'active', now() from generate_series(1, 5000) n`)
  await database.query('analyze users, sessions')
  for (let i = 1; i <= 30; i += 1) await findAuthStates(pool, [{ userId: `user_${i}`, sessionId: `sess_${i}` }])
  const { rows } = await pool.query({
    name: '',
    text: `select custom_plans::int as custom, generic_plans::int as generic from pg_prepared_statements
      where name like 'auth\\_states%'`,
    values: [],
  })
  // PostgreSQL looks at five plans of their own before it decides.
  t.strictSame(rows, [{ custom: 5, generic: 25 }])
})

test('the states of many users are read in one query, in the order asked', async (t) => {
  const { apply, pool } = await startRepository(t)
  await apply(
    { user: snapshot('user_1', T0, { email: 'ada@example.com', lastSignInAt: T0, banned: true }) },
    { user: deletion('user_2', T0) },
    { user: claims('user_3', T0 + SECOND, {}) },
  )
  const [one, nobody, two, three] = await findAuthStates(
    pool,
    ['user_1', 'user_0', 'user_2', 'user_3'].map((userId) => ({ userId, sessionId: null })),
  )
  t.match(one, {
    isBanned: true,
    isDeleted: false,
    sessionStatus: undefined,
  })
  t.match(one?.user, {
    id: 'user_1',
    email: 'ada@example.com',
    lastSignInAt: new Date(T0).toISOString(),
    publicMetadata: {},
  })
  const none = {
    user: undefined,
    isInferred: false,
    isBanned: false,
    isDeprovisioned: false,
    sessionStatus: undefined,
    organization: undefined,
  }
  t.strictSame(nobody, {
    ...none,
    isDeleted: false,
    isInferred: false,
    isDeprovisioned: false,
    organization: undefined,
  })
  t.strictSame(two, {
    ...none,
    isDeleted: true,
    isInferred: false,
    isDeprovisioned: false,
    organization: undefined,
  })
  t.match(three, {
    isDeleted: false,
    user: { lastSignInAt: null },
  })
})

import tap, { type Test, test } from 'tap'
import {
  deletion,
  inferred,
  session,
  snapshot,
  startRepository,
  T0,
  type TestRepositoryOptions,
} from '../helpers/repository.ts'

tap.setTimeout(900_000)

async function start(t: Test, options?: TestRepositoryOptions) {
  const it = await startRepository(t, options)
  const user = async () => {
    const [row] = await it.database.query('select first_name, deleted_at, sync_source from users')
    return row && { firstName: row.first_name, isDeleted: row.deleted_at !== null, source: row.sync_source }
  }
  return { ...it, user }
}

const ADA = { firstName: 'Ada' }
const GONE = { firstName: null, isDeleted: true, source: 'clerk_api' }

test('an inferred deletion is undone by a later state, and by nothing else', async (t) => {
  const { apply, user } = await start(t)
  await apply({ user: snapshot('user_1', T0, ADA) }, { user: inferred('user_1', T0 + 10) })
  t.strictSame(await user(), GONE)
  await apply({ user: snapshot('user_1', T0 + 5, { ...ADA, eventAt: T0 + 10 }) })
  await apply({ user: snapshot('user_1', T0 + 5, { ...ADA, eventAt: null, askedAt: T0 + 10 }) })
  await apply({ user: { kind: 'claims', id: 'user_1', issuedAt: T0 + 60_000, profile: ADA } })
  t.strictSame(await user(), GONE)
  await apply({ user: snapshot('user_1', T0, { ...ADA, eventAt: T0 + 11 }) })
  t.strictSame(await user(), { firstName: 'Ada', isDeleted: false, source: 'webhook' }, 'by a later event')
  await apply({ user: inferred('user_1', T0 + 20) })
  t.strictSame(await user(), GONE)
  await apply({ user: snapshot('user_1', T0, { ...ADA, eventAt: null, askedAt: T0 + 21 }) })
  t.strictSame(
    await user(),
    { firstName: 'Ada', isDeleted: false, source: 'clerk_api' },
    'by the API naming the user again',
  )
})

test('where the API brings a user back with an unchanged updated_at, the newest event of that updated_at still takes precedence', async (t) => {
  const { apply, user } = await start(t)
  const event = (eventAt: number, firstName: string) => ({ user: snapshot('user_1', T0, { firstName, eventAt }) })
  await apply(event(T0 + 5, 'Event'), { user: inferred('user_1', T0 + 10) })
  await apply({ user: snapshot('user_1', T0, { firstName: 'API', eventAt: null, askedAt: T0 + 20 }) })
  t.match(await user(), { firstName: 'API', isDeleted: false }, 'what the event said was cleared')
  await apply(event(T0 + 4, 'Older'))
  t.match(await user(), { firstName: 'API' }, 'an event from before the cleared one is stale')
  await apply(event(T0 + 5, 'Event'))
  t.match(await user(), { firstName: 'Event' }, 'the event, delivered again')
})

test('an inferred deletion does not affect a user that was reported later, or that was deleted by an event', async (t) => {
  const { apply, user, database } = await start(t)
  await apply({ user: snapshot('user_1', T0, { ...ADA, eventAt: T0 + 30 }) })
  t.strictSame(await apply({ user: inferred('user_1', T0 + 29) }), ['stale'])
  t.match(await user(), { isDeleted: false })
  await apply({ user: deletion('user_1', T0 + 40) }, { user: inferred('user_1', T0 + 50) })
  t.match(await user(), { isDeleted: true, source: 'webhook' })
  await apply({ user: snapshot('user_1', T0 + 90, { ...ADA, eventAt: null, askedAt: T0 + 90 }) })
  t.match(await database.query('select deleted_at from users'), [{ deleted_at: new Date(T0 + 40) }], 'final')
})

test('an event makes an inferred deletion final', async (t) => {
  const { apply, user } = await start(t)
  await apply({ user: inferred('user_1', T0 + 50) })
  await apply({ user: deletion('user_1', T0 + 40) })
  await apply({ user: snapshot('user_1', T0 + 90, ADA) })
  t.strictSame(await user(), { firstName: null, isDeleted: true, source: 'webhook' })
})

test('a user that comes back has the sessions that Clerk reported', async (t) => {
  const { apply, repository } = await start(t)
  const status = async () => (await repository.findAuthState({ userId: 'user_1', sessionId: 'sess_1' })).sessionStatus
  await apply({ user: snapshot('user_1', T0) }, { session: session('sess_1', 'user_1', 'active', T0) })
  await apply({ user: inferred('user_1', T0 + 10) })
  await apply({ session: session('sess_2', 'user_1', 'active', T0 + 20) })
  t.match(await repository.findAuthState({ userId: 'user_1', sessionId: 'sess_2' }), {
    isDeleted: true,
    isInferred: true,
  })
  await apply({ user: snapshot('user_1', T0 + 20) })
  t.equal(await status(), 'active')
  await apply({ user: deletion('user_1', T0 + 30) })
  t.equal(await status(), 'ended')
})

test('an answer in the same batch as the inferred deletion is dated by its request', async (t) => {
  const { apply, user } = await start(t)
  await apply({ user: snapshot('user_1', T0, ADA) })
  await apply(
    { user: inferred('user_1', T0 + 10) },
    { user: snapshot('user_1', T0, { ...ADA, eventAt: null, askedAt: T0 + 11 }) },
  )
  t.match(await user(), { isDeleted: false })
  await apply(
    { user: inferred('user_1', T0 + 30) },
    { user: snapshot('user_1', T0, { ...ADA, eventAt: null, askedAt: T0 + 20 }) },
  )
  t.strictSame(await user(), GONE)
})

test('private and unsafe metadata are stored if SYNC_METADATA names them', async (t) => {
  const state = { unsafeMetadata: { theme: 'dark' }, privateMetadata: { ssn: '1' }, locked: true, deprovisioned: true }
  const one = await start(t)
  const read = () => one.database.query('select unsafe_metadata, private_metadata, locked, deprovisioned from users')
  await one.apply({ user: snapshot('user_1', T0, { state }) })
  t.strictSame(await read(), [{ unsafe_metadata: null, private_metadata: null, locked: true, deprovisioned: true }])
  const two = await start(t, { database: one.database, syncMetadata: ['private'] })
  await two.apply({ user: snapshot('user_1', T0, { state, eventAt: null, source: 'clerk_api' }) })
  await two.apply({ user: snapshot('user_1', T0 + 1, { state }) })
  t.match(await read(), [{ unsafe_metadata: null, private_metadata: { ssn: '1' } }])
  const three = await start(t, { database: one.database, syncMetadata: ['private', 'unsafe'] })
  await three.apply({ user: snapshot('user_1', T0 + 2, { state }) })
  t.match(await read(), [{ unsafe_metadata: { theme: 'dark' }, private_metadata: { ssn: '1' } }])
  await three.apply({ user: deletion('user_1', T0 + 3) })
  t.strictSame(await read(), [{ unsafe_metadata: null, private_metadata: null, locked: false, deprovisioned: false }])
})

test('expired sessions are pruned like ended ones', async (t) => {
  const { apply, repository, database } = await start(t)
  const states = ['lapsed', 'abandoned_later', 'living'].map((id) => session(id, 'user_1', 'active', T0))
  await apply(...states.map((state) => ({ session: state })))
  await database.query(`update sessions set expire_at = now() - interval '40 days',
    abandon_at = now() - case id when 'lapsed' then interval '31 days' else interval '1 day' end where id <> 'living'`)
  await database.query(
    `update sessions set expire_at = now() + interval '1 day', abandon_at = null where id = 'living'`,
  )
  t.equal(await repository.pruneSessions(30), 1)
  t.strictSame(await database.query('select id from sessions order by id'), [
    { id: 'abandoned_later' },
    { id: 'living' },
  ])
})

test('a database whose transactions are serializable by default changes nothing', async (t) => {
  const { database, apply } = await start(t)
  await database.query(`do $$ begin
    execute format('alter database %I set default_transaction_isolation = serializable', current_database()); end $$`)
  const strict = await startRepository(t, { database, max: 4 })
  const ids = Array.from({ length: 8 }, (_, i) => `user_${i}`)
  await Promise.all(
    ids.map((id, i) => strict.apply({ user: snapshot(id, T0 + i) }, { user: snapshot('user_all', T0 + i) })),
  )
  await apply({ user: snapshot('user_all', T0 + 1) })
  const rows = await database.query("select clerk_updated_at from clerk.users where id = 'user_all'")
  t.strictSame(rows, [{ clerk_updated_at: new Date(T0 + 7) }])
})

test('an answer is dated by its request, even if an event of the same batch is newer', async (t) => {
  const { apply, user } = await start(t)
  await apply({ user: snapshot('user_1', T0, ADA) })
  await apply({ user: inferred('user_1', T0 + 10) })
  await apply(
    { user: snapshot('user_1', T0, { ...ADA, eventAt: null, askedAt: T0 + 11 }) },
    { user: snapshot('user_1', T0, { ...ADA, eventAt: T0 + 5 }) },
  )
  t.match(await user(), { firstName: 'Ada', isDeleted: false })
})

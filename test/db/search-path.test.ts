import pg from 'pg'
import { test } from 'tap'
import { migrate } from '../../src/db/migrate.ts'
import { createPool } from '../../src/db/pool.ts'
import { withSearchPath } from '../../src/db/search-path.ts'
import { createDatabase } from '../helpers/database.ts'
import { message, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'

test('two services with a schema each share a database and nothing else', async (t) => {
  const database = await createDatabase(t)
  for (const schema of ['one', 'two']) await migrate(database.url, { schema })
  for (const schema of ['one', 'two', undefined]) {
    const { apply, repository } = await startRepository(t, { database, schema })
    t.strictSame(
      await apply({
        message: message('msg_1'),
        user: snapshot('user_1', T0, { firstName: schema ?? 'public' }),
        session: session('sess_1', 'user_1', 'active', T0),
      }),
      ['applied'],
      'unheard of, whatever the others hold',
    )
    t.match(await repository.findAuthState('user_1', 'sess_1'), { user: { firstName: schema ?? 'public' } })
    t.match(await repository.ledgerSummary(), { lastReceivedAt: Date })
    t.equal(await repository.prune(30), 0)
  }
  const names = ['one', 'two', 'public'].map((schema) => database.query(`select first_name from ${schema}.users`))
  t.strictSame(await Promise.all(names), [[{ first_name: 'one' }], [{ first_name: 'two' }], [{ first_name: 'public' }]])
})

test('no table of another schema is taken for one of ours', async (t) => {
  const database = await createDatabase(t)
  const { apply } = await startRepository(t, { database, schema: 'missing' })
  await t.rejects(apply({ user: snapshot('user_1', T0) }), { code: 'DATABASE_UNAVAILABLE' })
  t.strictSame(await database.query('select * from users'), [])
})

test('other options of the connection string stay, and the schema goes before their own search_path', async (t) => {
  const database = await createDatabase(t)
  const shown = async (connectionString: string) => {
    const pool = createPool({ connectionString, schema: 'mine', onError: () => undefined })
    t.teardown(() => pool.end())
    const settings = ['search_path', 'work_mem', 'application_name'].map(
      (name) => `current_setting('${name}') as ${name}`,
    )
    return (await pool.query(`select ${settings}`)).rows[0]
  }
  const ours = { search_path: 'mine', application_name: 'clerk-session-sync' }
  t.match(await shown(database.url), ours)
  t.match(await shown(`${database.url}?application_name=x`), { ...ours, application_name: 'x' })
  const options = '-c%20work_mem%3D2MB%20-c%20search_path=theirs'
  t.match(await shown(`${database.url}?options=${options}`), { ...ours, work_mem: '2MB' })
  t.match(await shown(`${database.url}?application_name=x&options=${options}&connect_timeout=5`), {
    ...ours,
    work_mem: '2MB',
    application_name: 'x',
  })
})

test('a password with a bare percent sign is still read as pg reads it', async (t) => {
  const read = (connectionString: string) => {
    const { password, connectionParameters } = new pg.Client({ connectionString }) as pg.Client & {
      connectionParameters: { options?: string }
    }
    return { password, options: connectionParameters.options }
  }
  const url = 'postgres://u:50%off@h/d'
  t.strictSame(read(withSearchPath(url, 'mine')), { ...read(url), options: '-c search_path=mine' })
})

test('only a plain name passes', async (t) => {
  t.equal(withSearchPath('postgres://h/d', undefined), 'postgres://h/d')
  for (const schema of ['clerk', '_x1', 'a'.repeat(63), 'user'])
    t.match(withSearchPath('postgres://h/d', schema), schema)
  for (const schema of [
    '',
    'Clerk',
    '1x',
    'a-b',
    'a b',
    'a,public',
    '"a"',
    '$user',
    'a'.repeat(64),
    'a%20',
    'ü',
    'a\n',
  ]) {
    t.throws(() => withSearchPath('postgres://h/d', schema), TypeError, JSON.stringify(schema))
  }
  await t.rejects(migrate('postgres://h/d', { schema: 'a;b' }), TypeError)
})

test('a name that SQL reserves is a name like any other', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await migrate(database.url, { schema: 'user' })
  const { apply } = await startRepository(t, { database, schema: 'user' })
  t.strictSame(await apply({ user: snapshot('user_1', T0) }), ['applied'])
})

/** The feed by logical replication, read with PostgreSQL's own `pgoutput`, as Debezium and others do. */
import pg from 'pg'
import { test } from 'tap'
import { setChangeFeed } from '../../../src/db/changes/enable.ts'
import { pruneChanges } from '../../../src/db/changes/prune.ts'
import { migrate } from '../../../src/db/migrate.ts'
import { createPool } from '../../../src/db/pool.ts'
import { createRepository } from '../../../src/db/repository.ts'
import { startOwnPostgres } from '../../helpers/own-postgres.ts'
import { message, session, snapshot, T0 } from '../../helpers/repository.ts'

/** The rows that a stream of pgoutput (version 1) inserts and the keys that it deletes, by relation. */
function decode(messages: Buffer[]): { kind: string; row: Record<string, string | null> }[] {
  const relations = new Map<number, string[]>()
  const found: { kind: string; row: Record<string, string | null> }[] = []
  for (const bytes of messages) {
    let at = 1
    const int16 = () => {
      at += 2
      return bytes.readInt16BE(at - 2)
    }
    const int32 = () => {
      at += 4
      return bytes.readInt32BE(at - 4)
    }
    const text = () => {
      const end = bytes.indexOf(0, at)
      const value = bytes.toString('utf8', at, end)
      at = end + 1
      return value
    }
    const kind = String.fromCharCode(bytes[0] as number)
    if (kind === 'R') {
      const id = int32()
      text()
      text()
      at += 1
      relations.set(
        id,
        Array.from({ length: int16() }, () => {
          at += 1
          const name = text()
          at += 8
          return name
        }),
      )
    } else if (kind === 'I' || kind === 'D') {
      const columns = relations.get(int32()) as string[]
      at += 1
      const values = Array.from({ length: int16() }, () => {
        const type = String.fromCharCode(bytes[at++] as number)
        if (type !== 't') return null
        const length = int32()
        at += length
        return bytes.toString('utf8', at - length, at)
      })
      found.push({ kind, row: Object.fromEntries(columns.map((name, i) => [name, values[i] as string | null])) })
    }
  }
  return found
}

test('logical replication has each change once, in the order of commits, and pruning does not break it', async (t) => {
  const { url } = await startOwnPostgres(t, { settings: ['wal_level=logical', 'fsync=off'] })
  await migrate(url)
  await setChangeFeed(url, { isEnabled: true })
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  await client.query('create publication feed for table clerk.changes')
  await client.query(`select pg_create_logical_replication_slot('feed', 'pgoutput')`)
  const pool = createPool({ connectionString: url, onError: () => undefined })
  t.teardown(() => pool.end())
  const { apply } = createRepository({ pool })
  const read = async () => {
    const { rows } = await client.query(
      `select data from pg_logical_slot_get_binary_changes('feed', null, null, 'proto_version', '1', 'publication_names', 'feed')`,
    )
    return decode(rows.map(({ data }) => data))
  }
  await apply([
    { message: message('m1'), user: snapshot('user_1', T0), session: session('sess_1', 'user_1', 'active', T0) },
  ])
  await apply([{ user: snapshot('user_1', T0 + 1_000, { eventAt: null, firstName: 'Ada' }) }])
  const inserted = await read()
  t.strictSame(
    inserted.map(({ kind, row: { entity, entity_id: id, op, changed, cause } }) => [
      kind,
      entity,
      id,
      op,
      changed,
      cause,
    ]),
    [
      ['I', 'user', 'user_1', 'created', '{}', 'webhook'],
      ['I', 'session', 'sess_1', 'created', '{}', 'webhook'],
      ['I', 'user', 'user_1', 'updated', '{first_name}', 'clerk_api'],
    ],
  )
  await client.query(`update clerk.changes set occurred_at = now() - interval '8 days' where entity = 'session'`)
  await client.query(`delete from clerk.changes where entity = 'user'`)
  t.equal(await pruneChanges(pool, 7), 1)
  const deleted = (await read()).filter(({ kind }) => kind === 'D')
  t.strictSame(deleted.map(({ row }) => row.seq).sort(), inserted.map(({ row }) => row.seq).sort(), 'by their key')
})

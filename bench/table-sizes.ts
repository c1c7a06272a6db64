/**
 * How large the tables are: real schema and indexes, and rows as Clerk's webhooks leave them, made by SQL. Needs about 1.1 KB of
 * disk a user, and 20 minutes for 20,000,000.
 *
 *   node bench/table-sizes.ts [--users 20000000] [--sessions 20000000] [--ledger 20000000] [--json]
 */
import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { createPool } from '../src/db/pool.ts'
import { createRepository } from '../src/db/repository.ts'
import { type Database, startPostgres } from './postgres.ts'
import { decimal, table } from './table.ts'

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '20000000' },
    sessions: { type: 'string' },
    ledger: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const users = Number(values.users)
const sessions = Number(values.sessions ?? users)
const ledger = Number(values.ledger ?? users)

const BATCH = 500_000
const DISK_BYTES_A_ROW = 1_000
const LEDGER_DAYS = 30

// Ids as Clerk's and Svix's: a prefix, and 27 characters that begin with the time.
const ksuid = (prefix: string, number = 'n') =>
  `'${prefix}_2' || lpad(to_hex(${number}), 8, '0') || substr(md5('${prefix}' || ${number}), 1, 18)`
const base64 = (length: number) => `substr(replace(encode(sha512(n::text::bytea), 'base64'), E'\\n', ''), 1, ${length})`
const at = (share: string, days: number) => `now() - interval '${days} days' * (${share})`
const ROW_AGE = '1 - n::float8 / $3'

const INSERT_USERS = `
  insert into users (id, email, email_verified, first_name, last_name, username, image_url, public_metadata, last_sign_in_at,
    external_id, phone_number, clerk_created_at, clerk_updated_at, clerk_event_at, claims_issued_at, claims_columns,
    sync_source, created_at, updated_at)
  select ${ksuid('user')},
    (array['maria','john','wei','fatima','alexander'])[1 + n % 5] || '.' || substr(md5(n::text), 1, 7) || n % 100
      || (array['@gmail.com','@outlook.com','@example-company.com'])[1 + n % 3],
    n % 20 <> 0, (array['Maria','John','Wei','Fatima','Alexander'])[1 + n % 5], initcap(substr(md5(n::text), 1, 8)),
    case when n % 10 < 3 then 'user_' || substr(md5(n::text), 1, 8) end,
    'https://img.clerk.com/' || ${base64(86)} || case when n % 10 < 4 then ${base64(88)} else '' end,
    case when n % 10 < 5 then '{}' when n % 10 < 8 then '{"plan": "pro", "seats": 3}'
      else '{"plan": "enterprise", "role": "admin", "onboarding": {"done": true, "step": 5}, "locale": "de-DE", "tenant": "'
        || md5(n::text) || '"}' end::jsonb,
    case when n % 20 <> 0 then t.at end,
    case when n % 10 < 2 then md5(n::text)::uuid::text end,
    case when n % 10 = 0 then '+4915' || lpad((n % 1000000000)::text, 9, '0') end,
    t.at, t.at, t.at, case when n % 10 < 5 then t.at end,
    case when n % 10 < 5 then array['email', 'first_name', 'last_name'] end, 'webhook', t.at, t.at
  from generate_series($1::bigint, $2::bigint) n, lateral (select ${at(ROW_AGE, 900)} as at) t`

// A session lives 7 days and is kept for 30 more: most rows are of sessions that have ended.
const INSERT_SESSIONS = `
  insert into sessions (id, user_id, status, client_id, clerk_created_at, clerk_updated_at, clerk_event_at, last_active_at,
    expire_at, abandon_at, created_at, updated_at)
  select ${ksuid('sess')}, ${ksuid('user', '(1 + (n * 7919) % $4::bigint)')},
    case when n % 10 < 8 then 'ended' else 'active' end, ${ksuid('client')}, t.at, t.at, t.at, t.at,
    t.at + interval '7 days', t.at + interval '30 days', t.at, t.at
  from generate_series($1::bigint, $2::bigint) n, lateral (select ${at(ROW_AGE, 37)} as at) t`

const INSERT_LEDGER = `
  insert into webhook_events (id, type, object_id, instance_id, outcome, attempts, event_at, received_at, last_received_at,
    processed_at)
  select ${ksuid('msg')}, (array['session.created','user.updated','session.ended'])[1 + n % 3],
    case when n % 3 = 1 then ${ksuid('user', '(1 + (n * 7919) % $4::bigint)')} else ${ksuid('sess')} end,
    'ins_2g7np7Hrk0SN6kj5EDMLDaKNL0S', case when n % 40 = 0 then 'stale' else 'applied' end, 1, t.at, t.at, t.at, t.at
  from generate_series($1::bigint, $2::bigint) n, lateral (select ${at(ROW_AGE, LEDGER_DAYS)} as at) t`

interface Size {
  name: string
  rows: number
  tableBytes: number
  indexes: Record<string, number>
}

async function fill(database: Database, name: string, insert: string, rows: number): Promise<void> {
  const more = insert.includes('$4') ? [users] : []
  for (let first = 1; first <= rows; first += BATCH) {
    const last = Math.min(first + BATCH - 1, rows)
    await database.query(insert, [first, last, rows, ...more])
    process.stderr.write(`${name}: ${decimal(last)}\n`)
  }
}

async function sizeOf({ query }: Database, name: string, label = name): Promise<Size> {
  await query(`vacuum analyze ${name}`)
  const [row] = await query<{ rows: number; bytes: number }>(
    `select (select count(*) from ${name})::float8 as rows, pg_table_size('${name}')::float8 as bytes`,
  )
  const indexes = await query<{ name: string; bytes: number }>(
    `select indexrelid::regclass::text as name, pg_relation_size(indexrelid)::float8 as bytes
    from pg_index where indrelid = '${name}'::regclass order by 2 desc`,
  )
  const { rows, bytes } = row as { rows: number; bytes: number }
  return {
    name: label,
    rows,
    tableBytes: bytes,
    indexes: Object.fromEntries(indexes.map((index) => [index.name.replace(/^\w+\./, ''), index.bytes])),
  }
}

/** Deletes a day's worth of the ledger as the service does, and says how fast that went. */
async function measurePruning(database: Database): Promise<string> {
  const pool = createPool({ connectionString: database.url, onError: (error) => console.error(error.message) })
  try {
    const startedAt = performance.now()
    const pruned = await createRepository({ pool }).prune(LEDGER_DAYS - 1)
    const seconds = (performance.now() - startedAt) / 1000
    return `pruned ${decimal(pruned)} rows of the ledger in ${decimal(seconds, 1)} s: ${decimal(pruned / seconds)} a second`
  } finally {
    await pool.end()
  }
}

const { bavail, bsize } = statfsSync(tmpdir())
const neededBytes = (users + sessions + ledger) * DISK_BYTES_A_ROW
if (bavail * bsize < neededBytes) {
  console.error(`${tmpdir()} has too little space: ${decimal(neededBytes / 1e9)} GB are needed`)
  process.exit(2)
}
// Nothing is kept, so nothing has to be durable; the sizes are the same.
const postgres = await startPostgres([
  'fsync=off',
  'synchronous_commit=off',
  'wal_level=minimal',
  'max_wal_senders=0',
  'max_wal_size=4GB',
  'shared_buffers=2GB',
  'maintenance_work_mem=512MB',
  'autovacuum=off',
])
const sizes: Size[] = []
let pruning = ''
try {
  const database = await postgres.createDatabase('table_sizes', 0, 0)
  await fill(database, 'users', INSERT_USERS, users)
  sizes.push(await sizeOf(database, 'users'))
  // As sign-ins do it, evenly spread: each leaves an old version of the row, which vacuum makes free for the next.
  for (let remainder = 0; remainder < 3; remainder += 1) {
    await database.query(
      `update users set last_sign_in_at = now(), clerk_updated_at = now(), clerk_event_at = now() where hashtext(id) & 15 = $1`,
      [remainder],
    )
    await database.query('vacuum users')
  }
  sizes.push(await sizeOf(database, 'users', 'users, after 3 rounds that update a sixteenth each'))
  await fill(database, 'sessions', INSERT_SESSIONS, sessions)
  sizes.push(await sizeOf(database, 'sessions'))
  await fill(database, 'webhook_events', INSERT_LEDGER, ledger)
  sizes.push(await sizeOf(database, 'webhook_events'))
  pruning = await measurePruning(database)
} finally {
  await postgres.stop()
}

const gigabytes = (bytes: number) => decimal(bytes / 1e9, 2)
const rows = sizes.map(({ name, rows, tableBytes, indexes }) => {
  const indexBytes = Object.values(indexes).reduce((sum, bytes) => sum + bytes, 0)
  return [
    name,
    decimal(rows),
    gigabytes(tableBytes),
    gigabytes(indexBytes),
    gigabytes(tableBytes + indexBytes),
    decimal((tableBytes + indexBytes) / rows),
    Object.entries(indexes)
      .map(([index, bytes]) => `${index} ${gigabytes(bytes)}`)
      .join(', '),
  ]
})
const head = ['', 'rows', 'table GB', 'indexes GB', 'all GB', 'bytes a row', 'of the indexes, GB']
console.log(values.json ? JSON.stringify(sizes, null, 2) : `${table(head, rows)}\n\n${pruning}`)

/** Whether the rows are what was sent: a figure that lost or garbled one is void. */
import { messageId, userId } from './bench-user.ts'
import type { Database } from './postgres.ts'
import { type BenchEvent, lastNameOf } from './webhooks.ts'

const SHOWN = 3

/** One sentence for each of the first rows that do not hold the last name and the version of their event. */
export async function findRowFaults(database: Database, newest: BenchEvent[]): Promise<string[]> {
  const rows = await database.query<{ id: string; last_name: string | null }>(
    `select e.id, u.last_name
    from unnest($1::text[], $2::text[], $3::float8[]) as e (id, last_name, version) left join users u on u.id = e.id
    where u.last_name is distinct from e.last_name
      or u.clerk_updated_at is distinct from to_timestamp(e.version / 1000)::timestamptz(3)
    limit ${SHOWN}`,
    [newest.map(({ number }) => userId(number)), newest.map(lastNameOf), newest.map(({ version }) => version)],
  )
  return rows.map(({ id, last_name }) => `${id} has ${last_name}, which is not what was sent last`)
}

/** The same of the rows that do not hold the last name of the source that they were synced from. */
export async function findSyncFaults(
  database: Database,
  numbers: number[],
  expectedLastName: (number: number) => string,
): Promise<string[]> {
  const rows = await database.query<{ id: string; last_name: string | null }>(
    `select e.id, u.last_name from unnest($1::text[], $2::text[]) as e (id, last_name) left join users u on u.id = e.id
    where u.last_name is distinct from e.last_name limit ${SHOWN}`,
    [numbers.map(userId), numbers.map(expectedLastName)],
  )
  return rows.map(({ id, last_name }) => `${id} has ${last_name}, which is not what its source says`)
}

/** Each message once in the ledger, as applied. */
export async function findLedgerFaults(database: Database, events: BenchEvent[]): Promise<string[]> {
  const [first, last] = [events[0], events.at(-1)]
  if (!first || !last) return []
  const [row] = await database.query<{ applied: number; others: number }>(
    `select count(*) filter (where outcome = 'applied' and attempts = 1)::int as applied, count(*)::int as others
    from webhook_events where id between $1 and $2`,
    [messageId(first.sequence), messageId(last.sequence)],
  )
  const { applied, others } = row as { applied: number; others: number }
  if (applied === events.length && others === applied) return []
  return [`the ledger has ${applied} of ${events.length} messages as applied, and ${others} in all`]
}

export async function countRows(database: Database): Promise<number> {
  const [row] = await database.query<{ count: number }>('select count(*)::int as count from users')
  return (row as { count: number }).count
}

/** Of the whole rows of these users. */
export async function fingerprint(database: Database, numbers: number[]): Promise<string> {
  const [row] = await database.query<{ md5: string }>(
    `select md5(string_agg(u::text, ',' order by id)) as md5 from users u where id = any($1)`,
    [numbers.map(userId)],
  )
  return (row as { md5: string }).md5
}

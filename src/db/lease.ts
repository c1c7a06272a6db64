/**
 * Lets one process at a time do a job, among all that share a database. A lease is a row that its holder renews. A PostgreSQL
 * advisory lock would need a session, which a pooler may give to another client, or a transaction that stays open.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from './drizzle.ts'
import { syncState } from './schema.ts'
import { $, type Executor, statement } from './statement.ts'

const now = sql.raw('extract(epoch from now())::float8')

const take = statement<{ job: string }>(
  'lease_take',
  (t) => sql`insert into ${t(syncState)} as l (job, state)
  values ('lease ' || ${$(1)}::text, jsonb_build_object('holder', ${$(2)}::text, 'until', ${now} + ${$(3)}::float8))
  on conflict (job) do update set state = excluded.state, updated_at = now()
  where l.state->>'holder' = ${$(2)} or (l.state->>'until')::float8 < ${now}
  returning job`,
)
const giveUp = statement(
  'lease_give_up',
  (t) => sql`delete from ${t(syncState)} where job = 'lease ' || ${$(1)}::text and state->>'holder' = ${$(2)}`,
)

/** The lease of a killed process is free after this time. */
export const LEASE_TTL_MS = 6_000
const RETRY_MS = 250

export interface LeaseOptions {
  /** How long to wait for the holder to release it, or for it to expire; 0 by default. */
  waitMs?: number
  /** How long it lasts unless renewed; it is renewed three times as often. 6 s by default. */
  ttlMs?: number
}

/**
 * Runs a job unless another process runs it (undefined then). `signal` aborts when another process has taken over, for example
 * after this one was paused for longer than the lease: the job must end then.
 */
export async function withLease<T>(
  executor: Executor,
  job: string,
  work: (signal: AbortSignal) => Promise<T>,
  { waitMs = 0, ttlMs = LEASE_TTL_MS }: LeaseOptions = {},
): Promise<{ result: T } | undefined> {
  const holder = randomUUID()
  const hold = async () => (await take(executor, job, holder, ttlMs / 1000)).length > 0
  const giveUpAt = performance.now() + waitMs
  while (!(await hold())) {
    if (performance.now() >= giveUpAt) return undefined
    await sleep(RETRY_MS)
  }
  const lost = new AbortController()
  // While the database is unreachable, no other process can take the lease either.
  const timer = setInterval(async () => {
    if (!(await hold().catch(() => true))) lost.abort(new Error(`another process has taken over ${job}`))
  }, ttlMs / 3)
  try {
    return { result: await work(lost.signal) }
  } finally {
    clearInterval(timer)
    await giveUp(executor, job, holder).catch(() => undefined) // The lease expires anyway.
  }
}

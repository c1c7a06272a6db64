/**
 * One process at a time for a job, of all that share a database. A lease is a row that its holder renews: a lock of
 * PostgreSQL's would be of a session, which a pooler may hand to somebody else, or of a transaction that stays open.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
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

/** A lease whose holder was killed is free after this long. */
export const LEASE_TTL_MS = 6_000
const RETRY_MS = 250

export interface LeaseOptions {
  /** How long to wait for somebody else to give it up, or to be taken for dead; 0 by default. */
  waitMs?: number
  /** How long it lasts unless it is renewed, which happens three times as often; 6 s by default. */
  ttlMs?: number
}

/**
 * Runs a job while nobody else does. Undefined when somebody else is at it. `signal` aborts when somebody else has taken over,
 * as after this process was stopped for longer than the lease lasts: the job must end then.
 */
export async function withLease<T>(
  executor: Executor,
  job: string,
  work: (signal: AbortSignal) => Promise<T>,
  { waitMs = 0, ttlMs = LEASE_TTL_MS }: LeaseOptions = {},
): Promise<{ result: T } | undefined> {
  const holder = randomUUID()
  const isTaken = async () => (await take(executor, job, holder, ttlMs / 1000)).length > 0
  const giveUpAt = performance.now() + waitMs
  while (!(await isTaken())) {
    if (performance.now() >= giveUpAt) return undefined
    await sleep(RETRY_MS)
  }
  const lost = new AbortController()
  // While the database is away nobody else can take it either.
  const timer = setInterval(async () => {
    if (!(await isTaken().catch(() => true))) lost.abort(new Error(`somebody else has taken over ${job}`))
  }, ttlMs / 3)
  try {
    return { result: await work(lost.signal) }
  } finally {
    clearInterval(timer)
    await giveUp(executor, job, holder).catch(() => undefined) // It ends by itself.
  }
}

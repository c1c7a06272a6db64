/** How what Clerk says arrives: shuffled, several times, over several roads at once. And what must be there in the end. */
import type { TestDatabase } from '../helpers/database.ts'
import { expectedSessions, expectedUsers, type Row } from '../helpers/model.ts'
import { factsIn, type Saying } from './history.ts'

export interface Arrival {
  /** The message id, where it is a message. */
  id: string
  saying: Saying
}

/** One of 0 … n - 1. */
export type Random = (below: number) => number

/** Every saying at least once, some several times, in any order. */
export function arrivalsOf(sayings: Saying[], prefix: string, random: Random): Arrival[] {
  const arrivals = sayings.flatMap((saying, i) => {
    const copies = Array.from({ length: 1 + random(3) * random(2) }, () => ({ id: `${prefix}|${i}`, saying }))
    // The same content under an id of its own is what a replay from Clerk's dashboard may send.
    return random(4) === 0 ? [...copies, { id: `${prefix}|${i}b`, saying }] : copies
  })
  for (let i = arrivals.length - 1; i > 0; i -= 1) {
    const j = random(i + 1)
    ;[arrivals[i], arrivals[j]] = [arrivals[j] as Arrival, arrivals[i] as Arrival]
  }
  return arrivals
}

/** Throws unless the rows of the users whose ids begin with the prefix are the model's, and the ledger says what it was told. */
export async function assertConverged(
  database: TestDatabase,
  prefix: string,
  sayings: Saying[],
  told: { id: string; outcome: string }[],
): Promise<void> {
  await assertRows(database, prefix, sayings)
  assertSame(await read(database, LEDGER, `${prefix}|%`), expectedLedger(told))
}

/** The same of the users and their sessions alone. */
export async function assertRows(database: TestDatabase, prefix: string, sayings: Saying[]): Promise<void> {
  const facts = sayings.flatMap(factsIn)
  assertSame(await read(database, USERS, `${prefix}\\_%`), expectedUsers(facts))
  assertSame(await read(database, SESSIONS, `${prefix}\\_%`), expectedSessions(facts))
}

/** A message is applied, stale or ignored once, and a duplicate ever after. */
function expectedLedger(told: { id: string; outcome: string }[]): Row[] {
  const byId = Map.groupBy(told, ({ id }) => id)
  return [...byId].sort().map(([id, all]) => {
    const [first, ...others] = all.filter(({ outcome }) => outcome !== 'duplicate')
    if (!first || others.length > 0) throw new Error(`${id} was told ${all.map(({ outcome }) => outcome)}`)
    return { id, outcome: first.outcome, attempts: all.length }
  })
}

const USERS = `select id, email, email_verified, first_name, last_name, username, image_url, public_metadata, last_sign_in_at,
  clerk_updated_at, clerk_event_at, banned, clerk_created_at, deleted_at from users where id like $1 order by id`
const SESSIONS = `select id, user_id, status, client_id, clerk_created_at, clerk_updated_at, clerk_event_at, last_active_at,
  expire_at, abandon_at from sessions where id like $1 order by id`
const LEDGER = 'select id, outcome, attempts from webhook_events where id like $1 order by id'

async function read(database: TestDatabase, sql: string, pattern: string): Promise<Row[]> {
  const rows = await database.query<Row>(sql, [pattern])
  const inMs = (value: unknown) => (value instanceof Date ? value.getTime() : value)
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, inMs(value)])))
}

function assertSame(actual: Row[], expected: Row[]): void {
  const found = actual.map((row) => JSON.stringify(row, sortedKeys))
  const wanted = expected.map((row) => JSON.stringify(row, sortedKeys))
  const wrong = wanted.findIndex((row, i) => row !== found[i])
  if (found.length === wanted.length && wrong === -1) return
  throw new Error(
    `${found.length} rows, expected ${wanted.length}; the first that differs:\n  ${found[wrong]}\n  ${wanted[wrong]}`,
  )
}

const sortedKeys = (_key: string, value: unknown) =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value

/** A small generator of random numbers, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): Random {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

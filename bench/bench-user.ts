/** The users of the bench: a rule from numbers to profiles, the same in JavaScript and in SQL. */

const DIGITS = 21
const padded = (number: number) => String(number).padStart(DIGITS, '0')

// As long as Clerk's, and like those in the order of creation.
export const userId = (number: number) => `user_2Bench${padded(number)}`
export const sessionId = (number: number) => `sess_2Bench${padded(number)}`
export const messageId = (number: number) => `msg_2Bench${padded(number)}`
/** Twenty users an organization. */
export const organizationId = (number: number) => `org_2Bench${padded(Math.ceil(number / 20))}`
export const membershipId = (number: number) => `orgmem_2Bench${padded(number)}`
export const emailOf = (number: number) => `person-${number}@bench.example`

/** The number of an id that `userId` made; undefined for any other. */
export function numberOfUserId(id: string): number | undefined {
  const digits = id.slice(userId(0).length - DIGITS)
  return digits !== '' && id === userId(Number(digits)) ? Number(digits) : undefined
}

/** The last name that the Backend API of the bench gives a user, which no row has before it was asked. */
export const apiLastNameOf = (number: number) => `Api ${number}`

export const IMAGE_URL =
  'https://img.clerk.com/eyJ0eXBlIjoiZGVmYXVsdCIsImlpZCI6Imluc18yZzducDdIcmswU042a2o1RURNTERhS05MMFMifQ'
const PUBLIC_METADATA = { plan: 'pro', seats: 3 }

/** The claims that an instance adds to its session tokens for a backend of its own. */
export function customClaims(number: number) {
  return {
    email: emailOf(number),
    email_verified: true,
    first_name: 'Bench',
    last_name: `Person ${number}`,
    username: `bench_${number}`,
    image_url: IMAGE_URL,
    public_metadata: PUBLIC_METADATA,
  }
}

const id = (prefix: string) => `'${prefix}_2Bench' || lpad(n::text, ${DIGITS}, '0')`

/**
 * Rows as `user.created` webhooks leave them. `$1` to `$2` are the numbers, `$3` the version in ms: later than any token was
 * issued, so that its claims have nothing to say.
 */
export const INSERT_USERS = `
  insert into users (id, email, email_verified, first_name, last_name, username, image_url, public_metadata,
    last_sign_in_at, clerk_created_at, clerk_updated_at, clerk_event_at, sync_source)
  select ${id('user')}, 'person-' || n || '@bench.example', true, 'Bench', 'Person ' || n, 'bench_' || n,
    '${IMAGE_URL}', '${JSON.stringify(PUBLIC_METADATA)}',
    v.at, v.at - interval '90 days', v.at, v.at, 'webhook'
  from generate_series($1::int, $2::int) n, (select to_timestamp($3::float8 / 1000) as at) v`

/** The session of each, active, as `session.created` leaves it. */
export const INSERT_SESSIONS = `
  insert into sessions (id, user_id, status, client_id, clerk_created_at, clerk_updated_at, clerk_event_at,
    last_active_at, expire_at, abandon_at)
  select ${id('sess')}, ${id('user')}, 'active', ${id('client')}, v.at, v.at, v.at,
    v.at, v.at + interval '7 days', v.at + interval '30 days'
  from generate_series($1::int, $2::int) n, (select to_timestamp($3::float8 / 1000) as at) v`

/** A ledger with a past: `$1` messages over the last 29 days. */
export const INSERT_LEDGER = `
  insert into webhook_events (id, type, object_id, outcome, event_at, received_at, last_received_at, processed_at)
  select 'msg_1Ledger' || lpad(n::text, 20, '0'), 'user.updated', ${id('user')}, 'applied', t.at, t.at, t.at, t.at
  from generate_series(1, $1::int) n, lateral (select now() - interval '29 days' * n / $1::int as at) t`

/** So many numbers out of `1` to `users`, evenly spread. */
export function spread(count: number, users: number): number[] {
  return Array.from({ length: count }, (_, index) => 1 + Math.floor((index * users) / count))
}

const STRIDE = 7_919

/** The numbers `0` to `count - 1`, each once before any comes again, and neighbours far apart. */
export const scatter = (index: number, count: number) => (index * STRIDE) % count

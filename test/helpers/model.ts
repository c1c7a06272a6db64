/**
 * The contract's rules as a plain function: the rows that Clerk's words end in, whatever the order in which they were
 * heard. It shares nothing with the code under test.
 */

/** What Clerk said once: in an event, in an answer of the Backend API (which has no `eventAt`), or in a token. */
export type Fact =
  | { kind: 'snapshot'; user: ClerkUserJson; eventAt: number | null }
  | { kind: 'deletion'; userId: string; eventAt: number }
  | { kind: 'session'; session: ClerkSessionJson; status: string; eventAt: number }
  | { kind: 'claims'; userId: string; issuedAt: number; columns: Partial<Profile> }

export interface ClerkUserJson {
  id: string
  email_addresses: { id: string; email_address: string; verification: { status: string } | null }[]
  primary_email_address_id: string | null
  first_name: string | null
  last_name: string | null
  username: string | null
  image_url: string
  public_metadata: Record<string, unknown> | null
  banned: boolean
  last_sign_in_at: number | null
  created_at: number
  updated_at: number
}

export interface ClerkSessionJson {
  id: string
  user_id: string
  client_id: string
  status: string
  last_active_at: number
  expire_at: number
  abandon_at: number
  created_at: number
  updated_at: number
}

/** Columns of `users`; times in ms. */
export interface Profile {
  email: string | null
  email_verified: boolean | null
  first_name: string | null
  last_name: string | null
  username: string | null
  image_url: string | null
  public_metadata: Record<string, unknown>
  last_sign_in_at: number | null
}

export type Row = Record<string, unknown>

const NOBODY: Profile = {
  email: null,
  email_verified: null,
  first_name: null,
  last_name: null,
  username: null,
  image_url: null,
  public_metadata: {},
  last_sign_in_at: null,
}
const FINAL = ['ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired']

/** What a parsed webhook event says. */
export function factsOf({ type, timestamp, data }: { type: string; timestamp: number; data: unknown }): Fact[] {
  const eventAt = ms(timestamp)
  if (type === 'user.deleted') return [{ kind: 'deletion', userId: (data as { id: string }).id, eventAt }]
  if (type.startsWith('user.')) return [{ kind: 'snapshot', user: data as ClerkUserJson, eventAt }]
  const { user, ...session } = data as ClerkSessionJson & { user: ClerkUserJson | null }
  return [
    { kind: 'session', session, status: session.status, eventAt },
    ...(user ? [{ kind: 'snapshot' as const, user, eventAt }] : []),
  ]
}

/** The final row of each user that the facts speak of, by id. */
export function expectedUsers(facts: Fact[]): Row[] {
  return byId(facts, (fact) => {
    if (fact.kind === 'session') return []
    return fact.kind === 'snapshot' ? fact.user.id : fact.userId
  }).map(([id, about]) => {
    const deletion = about.find((fact) => fact.kind === 'deletion')
    if (deletion)
      return { id, ...NOBODY, ...versioned(deletion.eventAt, deletion.eventAt), deleted_at: deletion.eventAt }
    const newest = about
      .filter((fact) => fact.kind === 'snapshot')
      .sort(compare(({ user, eventAt }) => [ms(user.updated_at), eventAt]))
      .at(-1)
    const row = newest ? snapshotRow(newest.user, newest.eventAt) : { ...NOBODY, ...versioned(null, null) }
    // Claims are a partial view: strictly newer than the snapshot, they overwrite what they name, and date nothing.
    for (const claims of about.filter((fact) => fact.kind === 'claims').sort(compare(({ issuedAt }) => [issuedAt]))) {
      if (claims.issuedAt > (row.clerk_updated_at ?? -Infinity)) Object.assign(row, claims.columns)
    }
    return { id, ...row, deleted_at: null }
  })
}

/** The final row of each session that the facts speak of, by id. */
export function expectedSessions(facts: Fact[]): Row[] {
  const deleted = new Set(facts.flatMap((fact) => (fact.kind === 'deletion' ? fact.userId : [])))
  const spoken = facts.filter((fact) => fact.kind === 'session')
  return byId(spoken, ({ session }) => session.id).map(([id, states]) => {
    const rank = ({ session, status, eventAt }: (typeof states)[number]) => [
      FINAL.includes(status) ? 1 : 0,
      ms(session.updated_at),
      eventAt,
    ]
    const { session, status, eventAt } = states.sort(compare(rank)).at(-1) as (typeof states)[number]
    return {
      id,
      user_id: session.user_id,
      status: deleted.has(session.user_id) && !FINAL.includes(status) ? 'ended' : status,
      client_id: session.client_id,
      clerk_created_at: ms(session.created_at),
      clerk_updated_at: ms(session.updated_at),
      clerk_event_at: eventAt,
      last_active_at: ms(session.last_active_at),
      expire_at: ms(session.expire_at),
      abandon_at: ms(session.abandon_at),
    }
  })
}

function snapshotRow(user: ClerkUserJson, eventAt: number | null) {
  const primary = user.email_addresses.find(({ id }) => id === user.primary_email_address_id)
  return {
    email: primary?.email_address ?? null,
    email_verified: primary ? primary.verification?.status === 'verified' : null,
    first_name: user.first_name,
    last_name: user.last_name,
    username: user.username,
    image_url: user.image_url,
    public_metadata: user.public_metadata ?? {},
    last_sign_in_at: user.last_sign_in_at === null ? null : ms(user.last_sign_in_at),
    ...versioned(ms(user.updated_at), eventAt),
    banned: user.banned,
    clerk_created_at: ms(user.created_at),
  }
}

const versioned = (updatedAt: number | null, eventAt: number | null) => ({
  clerk_updated_at: updatedAt,
  clerk_event_at: eventAt,
  banned: false,
  clerk_created_at: null as number | null,
})

// Clerk's times are milliseconds, in some payloads seconds.
const ms = (time: number) => (time < 1e11 ? time * 1000 : time)

/** Ascending, by the first rank that differs; none comes before any. */
function compare<T>(rank: (item: T) => (number | null)[]) {
  return (a: T, b: T): number => {
    const others = rank(b)
    return rank(a).reduce<number>((order, value, i) => order || Math.sign((value ?? 0) - (others[i] ?? 0)), 0)
  }
}

function byId<T>(items: T[], idOf: (item: T) => string | []): [string, T[]][] {
  const groups = Map.groupBy(
    items.filter((item) => idOf(item).length > 0),
    (item) => idOf(item) as string,
  )
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1))
}

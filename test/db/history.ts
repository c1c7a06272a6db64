/** Random lives of Clerk's users, and everything that Clerk says of them meanwhile. */
import fc from 'fast-check'
import type { ClerkSessionJson, ClerkUserJson, Fact, Profile } from '../helpers/model.ts'
import { factsOf } from '../helpers/model.ts'

/** Something to deliver: an event, an answer of the Backend API, or the claims of a token. */
export type Saying =
  | { kind: 'event'; event: { type: string; timestamp: number; data: object } }
  | { kind: 'api'; user: ClerkUserJson }
  | { kind: 'token'; userId: string; issuedAtSeconds: number; claims: object; columns: Partial<Profile> }

const NAMES = ['Ada', 'Grace', 'Zoë', '李', null] as const
const CLAIMED = [
  'email',
  'email_verified',
  'first_name',
  'last_name',
  'username',
  'image_url',
  'public_metadata',
] as const

const step = fc.record({
  act: fc.constantFrom(
    ...([
      'rename',
      'rename',
      'email',
      'ban',
      'signIn',
      'signIn',
      'endSession',
      'endSession',
      'token',
      'token',
      'api',
    ] as const),
  ),
  afterMs: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 300, max: 3_000 })),
  lagMs: fc.integer({ min: 0, max: 60 }),
  /** Chooses among whatever the act has to choose from. */
  choice: fc.nat(999),
  isNullUser: fc.boolean(),
})

const life = fc.record({
  steps: fc.array(step, { maxLength: 9 }),
  isDeleted: fc.boolean(),
  isDeletionInSeconds: fc.boolean(),
  /** `seconds`: whole ones, in some payloads said in seconds. `mute`: every webhook is lost and tokens are all that is heard. */
  style: fc.constantFrom('milliseconds', 'milliseconds', 'milliseconds', 'seconds', 'mute'),
})
export type Life = typeof life extends fc.Arbitrary<infer T> ? T : never

/** The lives of a few users. */
export const lives: fc.Arbitrary<Life[]> = fc.array(life, { minLength: 1, maxLength: 5 })

const BIRTH_MS = Date.UTC(2026, 0, 2, 3, 4, 5)
const FINAL = ['ended', 'removed', 'revoked', 'replaced', 'expired']

/** Plays a life: what Clerk says, in the order in which it happened. */
export function play({ steps, isDeleted, isDeletionInSeconds, style }: Life, id: string): Saying[] {
  const grain = style === 'milliseconds' ? 1 : 1000
  const sayings: Saying[] = []
  const stamps = new Set<number>()
  const sessions: ClerkSessionJson[] = []
  let now = BIRTH_MS
  let user: ClerkUserJson = {
    id,
    email_addresses: [{ id: 'idn_0', email_address: `${id}@example.com`, verification: { status: 'verified' } }],
    primary_email_address_id: 'idn_0',
    first_name: 'Ada',
    last_name: null,
    username: null,
    image_url: 'https://img.clerk.com/0',
    public_metadata: null,
    banned: false,
    last_sign_in_at: null,
    created_at: now,
    updated_at: now,
  }

  const emit = (type: string, data: object, lagMs: number, inSeconds: boolean) => {
    if (style === 'mute') return
    // A version is a pair: no two events of one user may share it and say different things.
    let timestamp = now + Math.ceil(lagMs / grain) * grain
    while (stamps.has(timestamp)) timestamp += grain
    stamps.add(timestamp)
    const event = { type, timestamp, data }
    sayings.push({ kind: 'event', event: structuredClone(inSeconds ? asSeconds(event) : event) })
  }
  const touch = (patch: Partial<ClerkUserJson>) => {
    user = { ...user, ...patch, updated_at: Math.max(now, user.updated_at + grain) }
  }
  const emitSession = (
    session: ClerkSessionJson,
    type: string,
    { isNullUser, lagMs, choice }: Life['steps'][number],
  ) => {
    const inSeconds = style === 'seconds' && choice % 2 === 0
    // Cut to whole seconds, an end may look older than what it ends.
    const updated_at = choice % 3 === 0 ? Math.floor(session.updated_at / 1000) : session.updated_at
    emit(type, { ...session, updated_at, user: isNullUser ? null : user }, lagMs, inSeconds)
  }

  emit('user.created', user, 5, false)
  for (const current of steps) {
    const { act, afterMs, lagMs, choice } = current
    now += Math.ceil(afterMs / grain) * grain
    const inSeconds = style === 'seconds' && choice % 2 === 0
    if (act === 'rename') {
      touch({
        first_name: NAMES[choice % NAMES.length] as string | null,
        username: choice % 7 === 0 ? `u${choice}` : user.username,
        image_url: `https://img.clerk.com/${choice}`,
        public_metadata: choice % 2 === 0 ? { plan: choice, tags: ['a', null, { b: 1.5 }] } : user.public_metadata,
      })
      emit('user.updated', user, lagMs, inSeconds)
    } else if (act === 'email') {
      const address = {
        id: `idn_${choice}`,
        email_address: `${choice}@example.com`,
        verification: choice % 3 ? { status: 'unverified' } : null,
      }
      const isPhoneOnly = choice % 5 === 0
      touch({
        email_addresses: [...user.email_addresses.slice(-1), address],
        primary_email_address_id: isPhoneOnly ? null : address.id,
      })
      emit('user.updated', user, lagMs, inSeconds)
    } else if (act === 'ban') {
      touch({ banned: !user.banned })
      emit('user.updated', user, lagMs, inSeconds)
    } else if (act === 'signIn') {
      const status = choice % 4 === 0 ? 'pending' : 'active'
      const session = newSession(`${id}_sess_${sessions.length}`, id, status, now)
      sessions.push(session)
      // Sometimes without a new `updated_at`: then the envelope alone tells which snapshot is newer.
      if (choice % 2 === 0) user = { ...user, last_sign_in_at: now }
      else touch({ last_sign_in_at: now })
      emitSession(session, status === 'pending' ? 'session.pending' : 'session.created', current)
    } else if (act === 'endSession') {
      const session = sessions[choice % Math.max(1, sessions.length)]
      if (!session) continue
      // Whoever is pending may become active first; whoever is over may be ended again otherwise.
      session.status = session.status === 'pending' && choice % 2 ? 'active' : (FINAL[choice % FINAL.length] as string)
      session.updated_at = session.last_active_at = now
      const type =
        session.status === 'active'
          ? 'created'
          : session.status === 'replaced' || session.status === 'expired'
            ? 'ended'
            : session.status
      emitSession(session, `session.${type}`, current)
    } else if (act === 'token') {
      sayings.push(token(user, now, style === 'mute' ? 0b1010101 : choice))
    } else if (style !== 'mute') {
      sayings.push({ kind: 'api', user: structuredClone(user) })
    }
  }
  if (isDeleted && style !== 'mute') {
    now += grain
    // Cut to whole seconds, as Clerk's own example is, the end may look older than what came before it.
    const timestamp = isDeletionInSeconds ? Math.floor(now / 1000) : now
    sayings.push({
      kind: 'event',
      event: { type: 'user.deleted', timestamp, data: { id, object: 'user', deleted: true } },
    })
    const [last] = sessions
    if (last) emit('session.removed', { ...last, status: 'removed', updated_at: now, user: null }, 3, false)
  }
  return sayings
}

/** What a saying lets the model know. */
export function factsIn(saying: Saying): Fact[] {
  if (saying.kind === 'event') return factsOf(saying.event)
  if (saying.kind === 'api') return [{ kind: 'snapshot', user: saying.user, eventAt: null }]
  return [{ kind: 'claims', userId: saying.userId, issuedAt: saying.issuedAtSeconds * 1000, columns: saying.columns }]
}

function newSession(id: string, user_id: string, status: string, now: number): ClerkSessionJson {
  const times = { created_at: now, updated_at: now, last_active_at: now, expire_at: now + 9e8, abandon_at: now + 9e9 }
  return { id, user_id, client_id: `${id}_client`, status, ...times }
}

/** A token that names the columns whose bits are set, with Clerk's truth of the moment. */
function token(user: ClerkUserJson, now: number, bits: number): Saying {
  const primary = user.email_addresses.find(({ id }) => id === user.primary_email_address_id)
  const truth = {
    email: primary?.email_address ?? null,
    email_verified: primary ? primary.verification?.status === 'verified' : null,
    first_name: user.first_name,
    last_name: user.last_name,
    username: user.username,
    image_url: user.image_url,
    public_metadata: user.public_metadata ?? {},
  }
  const named = CLAIMED.filter((_, i) => bits & (1 << i))
  const claims = Object.fromEntries(named.map((name) => [name, truth[name]]))
  return { kind: 'token', userId: user.id, issuedAtSeconds: Math.floor(now / 1000), claims, columns: claims }
}

function asSeconds<T>(value: T): T {
  if (Array.isArray(value)) return value.map(asSeconds) as T
  if (typeof value === 'number') return (value > 1e11 ? value / 1000 : value) as T
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asSeconds(item)])) as T
}

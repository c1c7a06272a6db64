/**
 * Everything that may alter the tables (a webhook, a token's claims, a user of the Backend API, a replayed event) becomes
 * a `Change`, and every `Change` enters through `repository.apply(changes)`.
 */
import type { Static, TSchema } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { cleanJson, cleanText, type JsonObject } from './clean.ts'
import {
  ClerkEnvelope,
  type ClerkUser,
  EVENT_SCHEMAS,
  type HandledEvent,
  type HandledEventType,
  isHandled,
} from './clerk-event.ts'
import { isFinal, type SessionState } from './session.ts'
import type { Profile, SyncSource, UserChange, UserClaims, UserSnapshot } from './user.ts'
import { toMilliseconds } from './version.ts'

/** One arrival: at most one message of the ledger with what it says of a user, a session, or both. */
export interface Change {
  message?: Message
  user?: UserChange
  session?: SessionState
}

/** A webhook message, as the ledger keeps it. Times are milliseconds since 1970. */
export interface Message {
  /** The Svix message id: the same for every delivery of the message. */
  id: string
  type: string
  objectId: string | null
  /** The timestamp of the envelope: when it happened at Clerk. */
  eventAt: number | null
  /** The body as it came; kept while it failed, or always with `WEBHOOK_STORE_PAYLOADS`. */
  payload: string
}

/** What became of a delivery. */
export type Outcome = 'applied' | 'duplicate' | 'stale' | 'ignored'

/** A well-signed event that cannot be used; `message` says why, without personal data. */
export class InvalidEventError extends Error {
  override name = 'InvalidEventError'
}

const DAY_MS = 86_400_000

const envelopeCheck: TypeCheck<typeof ClerkEnvelope> = TypeCompiler.Compile(ClerkEnvelope)
const eventChecks = Object.fromEntries(
  Object.entries(EVENT_SCHEMAS).map(([type, schema]) => [type, TypeCompiler.Compile<TSchema>(schema)]),
) as Record<HandledEventType, TypeCheck<TSchema>>

/**
 * The change that a parsed webhook event stands for; an event of a type not handled becomes a message alone.
 * @param delivery the Svix message id, its timestamp (ms, dates an envelope without one) and the body as it came
 * @param nowMs to refuse what is dated more than a day ahead, which would shut out every later event
 * @throws InvalidEventError when the event is not of its type's schema, or from the future
 */
export function changeFromEvent(
  event: unknown,
  delivery: { id: string; sentAt: number; payload: string },
  nowMs: number,
): Change {
  assertSchema(envelopeCheck, event)
  const eventAt = event.timestamp == null ? delivery.sentAt : toMilliseconds(event.timestamp)
  const objectId = idOf(event.data)
  const message = {
    id: cleanText(delivery.id),
    type: cleanText(event.type),
    objectId,
    eventAt,
    payload: delivery.payload,
  }
  if (!isHandled(event.type)) return { message }
  assertSchema(eventChecks[event.type], event)
  const change: Change = { message, ...handled(event as HandledEvent, eventAt) }
  assertNotAhead(change, eventAt, nowMs)
  return change
}

function idOf(data: unknown): string | null {
  const id = (data as { id?: unknown } | null | undefined)?.id
  return typeof id === 'string' ? cleanText(id) : null
}

function handled(event: HandledEvent, eventAt: number): Pick<Change, 'user' | 'session'> {
  switch (event.type) {
    case 'user.created':
    case 'user.updated':
      return { user: snapshot(event.data, 'webhook', eventAt) }
    case 'user.deleted':
      return { user: { kind: 'deletion', id: cleanText(event.data.id), deletedAt: eventAt } }
    default:
      return {
        session: sessionState(event, eventAt),
        ...(event.data.user && { user: snapshot(event.data.user, 'webhook', eventAt) }),
      }
  }
}

function assertSchema<T extends TSchema>(check: TypeCheck<T>, value: unknown): asserts value is Static<T> {
  if (check.Check(value)) return
  const error = check.Errors(value).First()
  throw new InvalidEventError(`${error?.path || '/'}: ${error?.message}`)
}

/** Whether a date would shut out every later change: more than a day ahead. */
export const isAhead = (date: number, nowMs: number): boolean => date > nowMs + DAY_MS

function assertNotAhead({ user, session }: Change, eventAt: number, nowMs: number): void {
  const dates = [eventAt, session?.version.updatedAt, user?.kind === 'snapshot' ? user.version.updatedAt : undefined]
  if (dates.some((date) => date !== undefined && isAhead(date, nowMs))) {
    throw new InvalidEventError('dated more than a day ahead')
  }
}

type SessionEvent = Extract<HandledEvent, { type: `session.${string}` }>

const STATUS_OF: Record<SessionEvent['type'], string> = {
  'session.created': 'active',
  'session.pending': 'pending',
  'session.ended': 'ended',
  'session.removed': 'removed',
  'session.revoked': 'revoked',
}

function sessionState({ type, data }: SessionEvent, eventAt: number): SessionState {
  const implied = STATUS_OF[type]
  // The data may name the final state more exactly than the type does ("replaced"), but never revive what has ended.
  const status = data.status && (isFinal(data.status) || !isFinal(implied)) ? cleanText(data.status) : implied
  return {
    id: cleanText(data.id),
    userId: cleanText(data.user_id),
    status,
    clientId: text(data.client_id),
    version: { updatedAt: time(data.updated_at) ?? eventAt, eventAt },
    createdAt: time(data.created_at),
    lastActiveAt: time(data.last_active_at),
    expireAt: time(data.expire_at),
    abandonAt: time(data.abandon_at),
  }
}

/** A full snapshot from a user of the Backend API, which has no envelope to date it between equals. */
export function snapshotFromApi(user: ClerkUser): UserSnapshot {
  return snapshot(user, 'clerk_api', null)
}

function snapshot(user: ClerkUser, source: SyncSource, eventAt: number | null): UserSnapshot {
  const primary = user.email_addresses?.find(({ id }) => id != null && id === user.primary_email_address_id)
  const email = text(primary?.email_address)
  return {
    kind: 'snapshot',
    id: cleanText(user.id),
    source,
    version: { updatedAt: time(user.updated_at) ?? eventAt ?? 0, eventAt },
    profile: {
      email,
      emailVerified: email === null ? null : primary?.verification?.status === 'verified',
      firstName: text(user.first_name),
      lastName: text(user.last_name),
      username: text(user.username),
      imageUrl: text(user.image_url),
      publicMetadata: cleanJson(user.public_metadata ?? {}) as JsonObject,
      lastSignInAt: time(user.last_sign_in_at),
    },
    banned: user.banned ?? false,
    clerkCreatedAt: time(user.created_at),
  }
}

const text = (value: string | null | undefined) => (value == null ? null : cleanText(value))
const time = (value: number | null | undefined) => (value == null ? null : toMilliseconds(value))

/** The claims of a session token that say something of its user. Names in the order in which they are looked for. */
const CLAIM_NAMES = {
  email: ['email', 'primary_email_address', 'primaryEmailAddress', 'email_address', 'emailAddress'],
  emailVerified: ['email_verified', 'emailVerified'],
  firstName: ['first_name', 'firstName', 'given_name', 'givenName'],
  lastName: ['last_name', 'lastName', 'family_name', 'familyName'],
  username: ['username'],
  imageUrl: ['image_url', 'imageUrl', 'picture'],
  publicMetadata: ['public_metadata', 'publicMetadata', 'metadata'],
} as const satisfies Partial<Record<keyof Profile, readonly string[]>>

const isText = (value: unknown) => value === null || typeof value === 'string'
const isOfColumn: Record<keyof typeof CLAIM_NAMES, (value: unknown) => boolean> = {
  email: isText,
  emailVerified: (value) => value === null || typeof value === 'boolean',
  firstName: isText,
  lastName: isText,
  username: isText,
  imageUrl: isText,
  publicMetadata: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
}

/** When a token's claims were true, in ms since 1970: whole seconds, as the tables keep it. */
export const claimsIssuedAt = (issuedAtSeconds: number): number => Math.trunc(issuedAtSeconds) * 1000

/**
 * The partial view that a verified token's claims give of its user; a claim of the wrong type counts as not named.
 * @param issuedAtSeconds the header's `oiat` where Clerk sets it, else `iat`
 */
export function claimsChange(userId: string, claims: JsonObject, issuedAtSeconds: number): UserClaims {
  const profile: Record<string, unknown> = {}
  for (const column of Object.keys(CLAIM_NAMES) as (keyof typeof CLAIM_NAMES)[]) {
    const name = CLAIM_NAMES[column].find((name) => Object.hasOwn(claims, name) && isOfColumn[column](claims[name]))
    if (name !== undefined) profile[column] = cleanJson(claims[name])
  }
  return { kind: 'claims', id: userId, issuedAt: claimsIssuedAt(issuedAtSeconds), profile }
}

/** States of objects that have a version and end as a tombstone: organizations, memberships, roles, invitations. */
import { isNewer, type Version } from './version.ts'

/** A snapshot or, with `deletedAt`, the end of an object. Times are milliseconds since 1970. */
export interface Versioned<Data extends object = object> {
  id: string
  source: 'webhook' | 'clerk_api'
  version: Version
  /** When Clerk reported it, which can undo an earlier inferred deletion; null for a part of another object. */
  heardAt: number | null
  createdAt: number | null
  /** A deletion from `clerk_api` is inferred and can be undone; one from `webhook` is final. */
  deletedAt: number | null
  /** Takes precedence over the version: a higher rank is later. */
  rank?: number
  data: Data
}

/** The origin of a snapshot: the timestamp of an event's envelope, or the time of a Backend API request. */
export type Origin = { eventAt: number } | { askedAt: number }

/** The parts of a `Versioned` that follow from its origin. */
export function originOf(origin: Origin, updatedAt: number | null): Pick<Versioned, 'source' | 'version' | 'heardAt'> {
  if ('askedAt' in origin) {
    return { source: 'clerk_api', version: { updatedAt: updatedAt ?? 0, eventAt: null }, heardAt: origin.askedAt }
  }
  const { eventAt } = origin
  return { source: 'webhook', version: { updatedAt: updatedAt ?? eventAt, eventAt }, heardAt: eventAt }
}

/** A deletion from an event, dated by the envelope because the object's own `updated_at` may equal its `created_at`. */
export function deletionOf<Data extends object>(id: string, eventAt: number, data: Data): Versioned<Data> {
  const version = { updatedAt: eventAt, eventAt }
  return { id, source: 'webhook', version, heardAt: eventAt, createdAt: null, deletedAt: eventAt, data }
}

/** A deletion that was inferred at `askedAt`, because the Backend API did not know the object. */
export function inferredDeletion<Data extends object>(id: string, askedAt: number, data: Data): Versioned<Data> {
  return { ...deletionOf(id, askedAt, data), source: 'clerk_api' }
}

const isForEver = ({ deletedAt, source }: Versioned) => deletedAt !== null && source === 'webhook'

/** Whether `a` takes precedence over `b`, of the same object. */
export function takesPrecedence(a: Versioned, b: Versioned): boolean {
  if (isForEver(a) && isForEver(b)) return (a.deletedAt as number) < (b.deletedAt as number)
  if (isForEver(a) || isForEver(b)) return isForEver(a)
  if (a.deletedAt !== null && b.deletedAt === null) return a.deletedAt > (b.heardAt ?? -Infinity)
  if (b.deletedAt !== null && a.deletedAt === null) return (a.heardAt ?? -Infinity) > b.deletedAt
  const ranks = (a.rank ?? 0) - (b.rank ?? 0)
  return ranks === 0 ? isNewer(a.version, b.version) : ranks > 0
}

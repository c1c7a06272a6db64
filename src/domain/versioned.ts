/** What may be said of an object that has a version and ends by a tombstone: organizations, memberships, roles, invitations. */
import { isNewer, type Version } from './version.ts'

/** A snapshot or, with `deletedAt`, the end of an object. Times are milliseconds since 1970. */
export interface Versioned<Data extends object = object> {
  id: string
  source: 'webhook' | 'clerk_api'
  version: Version
  /** When Clerk said so, which brings back what was only inferred to be deleted; null for a part of another object. */
  heardAt: number | null
  createdAt: number | null
  /** By `clerk_api` it is inferred, and can be taken back; by `webhook` it is for ever. */
  deletedAt: number | null
  /** What counts before the version: a higher one is later. */
  rank?: number
  data: Data
}

/** Where a snapshot comes from: the envelope's timestamp of an event, or when the Backend API was asked. */
export type Origin = { eventAt: number } | { askedAt: number }

/** The parts of a `Versioned` that follow from where it comes from. */
export function originOf(origin: Origin, updatedAt: number | null): Pick<Versioned, 'source' | 'version' | 'heardAt'> {
  if ('askedAt' in origin) {
    return { source: 'clerk_api', version: { updatedAt: updatedAt ?? 0, eventAt: null }, heardAt: origin.askedAt }
  }
  const { eventAt } = origin
  return { source: 'webhook', version: { updatedAt: updatedAt ?? eventAt, eventAt }, heardAt: eventAt }
}

/** A deletion told by an event: dated by the envelope, since the object's own `updated_at` may equal its `created_at`. */
export function deletionOf<Data extends object>(id: string, eventAt: number, data: Data): Versioned<Data> {
  const version = { updatedAt: eventAt, eventAt }
  return { id, source: 'webhook', version, heardAt: eventAt, createdAt: null, deletedAt: eventAt, data }
}

/** A deletion that was inferred at `askedAt`, because the Backend API does not know the object. */
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

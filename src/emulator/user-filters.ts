import { parameterInvalid } from './clerk-error.ts'
import { all, first, integer, type Query } from './query.ts'
import type { User } from './schemas.ts'
import type { CreationRange, UserStore } from './user-store.ts'

/** The filters of a user query. */
export interface UserFilter {
  /** The range of `created_at`, which the store finds by its index. */
  created: CreationRange
  /** The only users that can match, if the query names them; undefined for any. */
  named: User[] | undefined
  /** Further conditions of the query; undefined for none. */
  matches: ((user: User) => boolean) | undefined
}

type Predicate = (user: User) => boolean

// Each of these lists accepts at most 100 values.
const LISTS: Record<string, (user: User) => (string | null)[]> = {
  email_address: (user) => emails(user),
  phone_number: (user) => phones(user),
  username: (user) => [user.username],
}
/** A leading minus sign excludes a value in these lists. */
const SIGNED_LISTS: Record<string, (user: User) => string | null> = {
  user_id: (user) => user.id,
  external_id: (user) => user.external_id,
}
const SEARCHES: Record<string, (user: User) => (string | null)[]> = {
  query: (user) => [user.id, user.username, user.first_name, user.last_name, ...emails(user), ...phones(user)],
  email_address_query: (user) => emails(user),
  phone_number_query: (user) => phones(user),
  username_query: (user) => [user.username],
  name_query: (user) => [[user.first_name, user.last_name].filter((name) => name !== null).join(' ')],
}
const TIMES: Record<string, (user: User) => number | null> = {
  last_active_at: (user) => user.last_active_at,
  last_sign_in_at: (user) => user.last_sign_in_at,
}
const MAX_VALUES = 100

/**
 * Reads the filters that `GET /v1/users` and `GET /v1/users/count` share.
 *
 * @param memberIds the ids of an organization's members
 * @throws ClerkError 422 for a value that Clerk does not accept
 * Source: `GetUserList` and `GetUsersCount` in https://github.com/clerk/openapi-specs, bapi/2026-05-12.yml.
 */
export function readFilter(
  store: UserStore,
  query: Query,
  memberIds: (organizationId: string) => Iterable<string>,
): UserFilter {
  const predicates = [
    ...Object.entries(LISTS).map(([name, values]) => inList(query, name, values)),
    ...Object.entries(SIGNED_LISTS).map(([name, value]) => inSignedList(query, name, value)),
    ...Object.entries(SEARCHES).map(([name, values]) => found(query, name, values)),
    ...Object.entries(TIMES).map(([name, time]) => within(readRange(query, name), time)),
    isMember(query, memberIds),
    isBanned(query),
  ].filter((predicate) => predicate !== undefined)
  return {
    created: readRange(query, 'created_at'),
    named: findNamed(store, query),
    matches: predicates.length === 0 ? undefined : (user) => predicates.every((matches) => matches(user)),
  }
}

/** The users found by the store's indexes, so that a lookup by id does not read a million users. */
function findNamed(store: UserStore, query: Query): User[] | undefined {
  const ids = all(query.user_id).filter((id) => !id.startsWith('-'))
  if (ids.length > 0) return unique(ids.map((id) => store.find(withoutSign(id))))
  const addresses = all(query.email_address)
  if (addresses.length > 0) return unique(addresses.map((text) => store.findByIdentifier('email_address', text)))
  return undefined
}

function unique(users: (User | undefined)[]): User[] {
  return [...new Map(users.filter((user) => user !== undefined).map((user) => [user.id, user])).values()]
}

function inList(query: Query, name: string, valuesOf: (user: User) => (string | null)[]): Predicate | undefined {
  const wanted = new Set(list(query, name).map(lowerCase))
  return wanted.size === 0 ? undefined : (user) => valuesOf(user).some((value) => wanted.has(lowerCase(value ?? '')))
}

function inSignedList(query: Query, name: string, wanted: (user: User) => string | null): Predicate | undefined {
  const { included, excluded } = readSigned(query, name)
  if (included.size + excluded.size === 0) return undefined
  return (user) => {
    const value = wanted(user) ?? ''
    return !excluded.has(value) && (included.size === 0 || included.has(value))
  }
}

function isMember(query: Query, memberIds: (id: string) => Iterable<string>): Predicate | undefined {
  const { included, excluded } = readSigned(query, 'organization_id')
  if (included.size + excluded.size === 0) return undefined
  const membersOf = (ids: Set<string>) => new Set([...ids].flatMap((id) => [...memberIds(id)]))
  const [inside, outside] = [membersOf(included), membersOf(excluded)]
  return ({ id }) => !outside.has(id) && (included.size === 0 || inside.has(id))
}

function found(query: Query, name: string, valuesOf: (user: User) => (string | null)[]): Predicate | undefined {
  const text = first(query[name])?.toLowerCase()
  return text ? (user) => valuesOf(user).some((value) => lowerCase(value ?? '').includes(text)) : undefined
}

function isBanned(query: Query): Predicate | undefined {
  const banned = first(query.banned)
  return banned ? (user) => String(user.banned) === banned : undefined
}

function within({ afterMs, beforeMs }: CreationRange, timeOf: (user: User) => number | null): Predicate | undefined {
  if (afterMs === undefined && beforeMs === undefined) return undefined
  return (user) => {
    const time = timeOf(user)
    return time !== null && time > (afterMs ?? -1) && time < (beforeMs ?? Number.POSITIVE_INFINITY)
  }
}

/** `<name>_after` and `<name>_before`, both exclusive. */
function readRange(query: Query, name: string): CreationRange {
  const bounds = { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: undefined }
  return {
    afterMs: integer(query, `${name}_after`, bounds),
    beforeMs: integer(query, `${name}_before`, bounds),
  }
}

function readSigned(query: Query, name: string): { included: Set<string>; excluded: Set<string> } {
  const values = list(query, name)
  return {
    included: new Set(values.filter((value) => !value.startsWith('-')).map(withoutSign)),
    excluded: new Set(values.filter((value) => value.startsWith('-')).map(withoutSign)),
  }
}

function list(query: Query, name: string): string[] {
  const values = all(query[name])
  if (values.length > MAX_VALUES) throw parameterInvalid(name, `${values.length} values`)
  return values
}

const lowerCase = (text: string) => text.toLowerCase()
const emails = (user: User) => user.email_addresses.map((address) => address.email_address)
const phones = (user: User) => user.phone_numbers.map((number) => number.phone_number)
// An unescaped plus sign arrives as a space.
const withoutSign = (text: string) => text.replace(/^[-+ ]/, '')

import { parameterInvalid, parameterNotAllowed, parameterResourceNotFound } from './clerk-error.ts'
import type { User } from './schemas.ts'
import { primaryEmail } from './user-json.ts'
import { comparePositions, type Position, type UserStore } from './user-store.ts'

/** The query of `GET /v1/users`, as it came in the URL: a parameter that was given several times is an array. */
export type UserQuery = Record<string, string | string[] | undefined>

/**
 * What becomes of a `starting_after` whose user was deleted meanwhile: the list goes on where that user was, or 422.
 * Clerk's documents do not say which; a client does well to live with both.
 */
export type DeletedCursor = 'resume' | 'reject'

type Key = string | number | null

const ORDERS: Record<string, (user: User) => Key> = {
  created_at: (user) => user.created_at,
  updated_at: (user) => user.updated_at,
  last_sign_in_at: (user) => user.last_sign_in_at,
  last_active_at: (user) => user.last_active_at,
  email_address: (user) => primaryEmail(user) ?? null,
  phone_number: (user) => user.phone_numbers[0]?.phone_number ?? null,
  username: (user) => user.username,
  first_name: (user) => user.first_name,
  last_name: (user) => user.last_name,
  web3wallet: () => null,
}

/**
 * One page of users: filtered, ordered, and cut by cursor or offset.
 *
 * @throws ClerkError 422 for a value that Clerk does not take, such as a cursor that never was a user
 * Source: `GetUserList` in https://github.com/clerk/openapi-specs, bapi/2026-05-12.yml.
 */
export function listUsers(store: UserStore, query: UserQuery, deletedCursor: DeletedCursor): User[] {
  const limit = integer(query, 'limit', { min: 1, max: 500, fallback: 10 })
  const offset = integer(query, 'offset', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 })
  const { name, descending } = parseOrder(first(query.order_by) ?? '-created_at')
  const after = parseCursor(store, query, { order: name, offset, deletedCursor })

  const filters = toFilters(query)
  if (filters.length === 0 && name === 'created_at') return store.page({ descending, after, offset, limit })

  const users = candidates(store, query).filter((user) => filters.every((filter) => filter(user)))
  const ordered = sort(store, users, ORDERS[name] as (user: User) => Key, descending)
  const position = (user: User) => store.positionOf(user.id) as Position
  const start = after
    ? ordered.findIndex((user) => comparePositions(position(user), after) * (descending ? -1 : 1) > 0)
    : offset
  return start === -1 ? [] : ordered.slice(start, start + limit)
}

/** How many users the query's filters leave. */
export function countUsers(store: UserStore, query: UserQuery): number {
  const filters = toFilters(query)
  if (filters.length === 0) return store.size
  return candidates(store, query).filter((user) => filters.every((filter) => filter(user))).length
}

function parseOrder(text: string): { name: string; descending: boolean } {
  // A plus sign that was not escaped arrives as a space.
  const [, sign, name] = /^([-+ ]?)(.*)$/s.exec(text) as unknown as [string, string, string]
  if (!Object.hasOwn(ORDERS, name)) {
    throw parameterInvalid('order_by', name)
  }
  return { name, descending: sign === '-' }
}

function parseCursor(
  store: UserStore,
  query: UserQuery,
  { order, offset, deletedCursor }: { order: string; offset: number; deletedCursor: DeletedCursor },
): Position | undefined {
  const id = first(query.starting_after)
  if (id === undefined) return undefined
  if (order !== 'created_at') throw parameterNotAllowed('starting_after', 'order_by')
  if (offset > 0) throw parameterNotAllowed('starting_after', 'offset')
  const position = store.positionOf(id)
  if (!position || (deletedCursor === 'reject' && !store.find(id))) throw parameterResourceNotFound('starting_after')
  return position
}

/** The users to look at: straight from the index where ids or addresses are asked for, else all of them. */
function candidates(store: UserStore, query: UserQuery): User[] {
  const ids = all(query.user_id).filter((id) => !id.startsWith('-'))
  if (ids.length > 0) return unique(ids.map((id) => store.find(withoutSign(id))))
  const addresses = all(query.email_address)
  if (addresses.length > 0) return unique(addresses.map((text) => store.findByIdentifier('email_address', text)))
  return [...store.values()]
}

function unique(users: (User | undefined)[]): User[] {
  return [...new Map(users.filter((user) => user !== undefined).map((user) => [user.id, user])).values()]
}

function toFilters(query: UserQuery): ((user: User) => boolean)[] {
  const filters: ((user: User) => boolean)[] = []
  const ids = all(query.user_id)
  if (ids.length > 0) {
    const excluded = new Set(ids.filter((id) => id.startsWith('-')).map(withoutSign))
    const included = new Set(ids.filter((id) => !id.startsWith('-')).map(withoutSign))
    filters.push(({ id }) => !excluded.has(id) && (included.size === 0 || included.has(id)))
  }
  const addresses = new Set(all(query.email_address).map(lowerCase))
  if (addresses.size > 0) filters.push((user) => emails(user).some((address) => addresses.has(address)))
  const usernames = new Set(all(query.username).map(lowerCase))
  if (usernames.size > 0) filters.push((user) => usernames.has(lowerCase(user.username ?? '')))
  const text = first(query.query)?.toLowerCase()
  if (text) filters.push((user) => searchable(user).some((value) => value.toLowerCase().includes(text)))
  const createdAfter = integer(query, 'created_at_after', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: -1 })
  if (createdAfter >= 0) filters.push((user) => user.created_at > createdAfter)
  const createdBefore = integer(query, 'created_at_before', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: -1 })
  if (createdBefore >= 0) filters.push((user) => user.created_at < createdBefore)
  const banned = first(query.banned)
  if (banned) filters.push((user) => String(user.banned) === banned)
  return filters
}

function sort(store: UserStore, users: User[], key: (user: User) => Key, descending: boolean): User[] {
  const rows = users.map((user) => ({ user, key: key(user), position: store.positionOf(user.id) as Position }))
  const direction = descending ? -1 : 1
  rows.sort((a, b) => direction * (compareKeys(a.key, b.key) || comparePositions(a.position, b.position)))
  return rows.map(({ user }) => user)
}

/** Null comes last, as in PostgreSQL. */
function compareKeys(a: Key, b: Key): number {
  if (a === b) return 0
  if (a === null || b === null) return a === null ? 1 : -1
  return a < b ? -1 : 1
}

const lowerCase = (text: string) => text.toLowerCase()
const withoutSign = (text: string) => text.replace(/^[-+ ]/, '')
const emails = (user: User) => user.email_addresses.map((address) => address.email_address.toLowerCase())

const searchable = (user: User): string[] =>
  [
    user.id,
    user.username,
    user.first_name,
    user.last_name,
    ...emails(user),
    ...user.phone_numbers.map((number) => number.phone_number),
  ].filter((text) => text !== null)

/** All values of a parameter that may be repeated. */
const all = (value: string | string[] | undefined): string[] => [value ?? []].flat()

export function first(value: string | string[] | undefined): string | undefined {
  return [value].flat()[0]
}

export function integer(
  query: UserQuery,
  name: string,
  { min, max, fallback }: { min: number; max: number; fallback: number },
): number {
  const text = first(query[name])
  if (text === undefined) return fallback
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) throw parameterInvalid(name, text)
  return value
}

import { parameterInvalid, parameterNotAllowed, parameterResourceNotFound } from './clerk-error.ts'
import { first, integer, type Query } from './query.ts'
import type { User } from './schemas.ts'
import type { UserFilter } from './user-filters.ts'
import { primaryEmail } from './user-json.ts'
import { comparePositions, type Position, type UserStore } from './user-store.ts'

/**
 * What happens if the user of `starting_after` was deleted: the list continues where that user was, or the answer is 422. Clerk
 * does not document which, so clients should support both.
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

interface Order {
  name: string
  isDescending: boolean
  /** The user after whom the page starts. */
  after: Position | undefined
}

/**
 * One page of users: filtered, ordered, and cut by cursor or offset.
 *
 * @throws ClerkError 422 for a value that Clerk does not accept, such as a cursor that was never a user
 * Source: `GetUserList` in https://github.com/clerk/openapi-specs, bapi/2026-05-12.yml.
 */
export function listUsers(store: UserStore, query: Query, filter: UserFilter, deletedCursor: DeletedCursor): User[] {
  const limit = integer(query, 'limit', { min: 1, max: 500, fallback: 10 })
  const offset = integer(query, 'offset', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 })
  const { name, isDescending } = parseOrder(first(query.order_by) ?? '-created_at')
  const after = parseCursor(store, query, { order: name, offset, deletedCursor })
  return inOrder(store, filter, { name, isDescending, after }).drop(offset).take(limit).toArray()
}

/** The number of users that match a filter. */
export function countUsers(store: UserStore, filter: UserFilter): number {
  if (filter.named === undefined && filter.matches === undefined) return store.count(filter.created)
  return inOrder(store, filter, { name: 'created_at', isDescending: false, after: undefined }).reduce((n) => n + 1, 0)
}

/** The users that match a filter. Ordered by creation or update only the users read cost time, otherwise all users do. */
function inOrder(store: UserStore, filter: UserFilter, { name, isDescending, after }: Order): IteratorObject<User> {
  const { named, created, matches = () => true } = filter
  if (named === undefined && name === 'created_at') return store.walk({ isDescending, after, created }).filter(matches)
  const isWithin = ({ created_at }: User) =>
    created_at > (created.afterMs ?? -1) && created_at < (created.beforeMs ?? Number.POSITIVE_INFINITY)
  const isWanted = (user: User) => isWithin(user) && matches(user)
  if (named === undefined && name === 'updated_at') return store.walkByUpdate(isDescending).filter(isWanted)

  const users = [...(named ?? store.walk({ created }))].filter(isWanted)
  const position = (user: User) => store.positionOf(user.id) as Position
  return sort(store, users, ORDERS[name] as (user: User) => Key, isDescending)
    .values()
    .filter((user) => !after || comparePositions(position(user), after) * (isDescending ? -1 : 1) > 0)
}

function parseOrder(text: string): { name: string; isDescending: boolean } {
  // An unescaped plus sign arrives as a space.
  const [, sign, name] = /^([-+ ]?)(.*)$/s.exec(text) as unknown as [string, string, string]
  if (!Object.hasOwn(ORDERS, name)) {
    throw parameterInvalid('order_by', name)
  }
  return { name, isDescending: sign === '-' }
}

function parseCursor(
  store: UserStore,
  query: Query,
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

function sort(store: UserStore, users: User[], key: (user: User) => Key, isDescending: boolean): User[] {
  const rows = users.map((user) => ({ user, key: key(user), position: store.positionOf(user.id) as Position }))
  const direction = isDescending ? -1 : 1
  rows.sort((a, b) => direction * (compareKeys(a.key, b.key) || comparePositions(a.position, b.position)))
  return rows.map(({ user }) => user)
}

/** Null comes last, like in PostgreSQL. */
function compareKeys(a: Key, b: Key): number {
  if (a === b) return 0
  if (a === null || b === null) return a === null ? 1 : -1
  return a < b ? -1 : 1
}

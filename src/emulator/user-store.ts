import type { User } from './schemas.ts'
import { SeededUsers } from './seeded-users.ts'

/** A place in the order of creation: `created_at`, and between equals the order of arrival. */
export interface Position {
  createdAtMs: number
  arrival: number
}

/** What Clerk keeps unique within an instance. */
export type IdentifierKind = 'email_address' | 'phone_number' | 'username'

const TOMBSTONE_LIMIT = 10_000

export const comparePositions = (a: Position, b: Position) => a.createdAtMs - b.createdAtMs || a.arrival - b.arrival

/**
 * All users in order of creation, looked up by id or by identifier. Users go in and come out as they are: treat them as
 * immutable and `put` a changed copy.
 *
 * Every user has an arrival number, and `#order` holds these numbers sorted by `Position`. Seeded users are made on
 * demand and kept only once they were changed, so that a million of them cost one number each.
 */
export class UserStore {
  readonly #seeded = new SeededUsers()
  readonly #users = new Map<number, User>()
  readonly #arrivals = new Map<string, number>()
  readonly #identifiers = new Map<string, number>()
  readonly #tombstones = new Map<string, Position>()
  #order: number[] = []
  #nextArrival = 0

  get size(): number {
    return this.#order.length
  }

  /** Finds a user by id; undefined when there is none, or no more. */
  find(id: string): User | undefined {
    const arrival = this.#arrivals.get(id) ?? this.#seeded.numberOfId(id)
    return arrival === undefined ? undefined : this.#at(arrival)
  }

  /** Finds the user who holds an identifier; email addresses and usernames are compared without case, as Clerk does. */
  findByIdentifier(kind: IdentifierKind, value: string): User | undefined {
    const arrival = this.#identifiers.get(identifierKey(kind, value))
    if (arrival !== undefined) return this.#at(arrival)
    const seeded = kind === 'email_address' ? this.#seeded.numberOfEmail(value.toLowerCase()) : undefined
    // A seeded user that was changed is listed by its present identifiers only.
    return seeded === undefined || this.#users.has(seeded) ? undefined : this.#at(seeded)
  }

  /** Where a user stands; also for one that was deleted, so that a cursor outlives its user. */
  positionOf(id: string): Position | undefined {
    const arrival = this.#arrivals.get(id) ?? this.#seeded.numberOfId(id)
    return arrival === undefined ? this.#tombstones.get(id) : this.#position(arrival)
  }

  /** Adds a user, or takes the place of the one with the same id. `created_at` never changes. */
  put(user: User): void {
    const known = this.#arrivals.get(user.id) ?? this.#seeded.numberOfId(user.id)
    const arrival = known ?? this.#nextArrival++
    const former = this.#users.get(arrival)
    if (former) this.#forgetIdentifiers(former)
    this.#users.set(arrival, user)
    this.#arrivals.set(user.id, arrival)
    for (const key of identifierKeys(user)) this.#identifiers.set(key, arrival)
    if (known === undefined) this.#order.splice(this.#indexOf({ createdAtMs: user.created_at, arrival }), 0, arrival)
  }

  /** Takes a user out; one that is not there is an error of the caller. */
  delete(user: User): void {
    const position = this.positionOf(user.id) as Position
    this.#order.splice(this.#indexOf(position), 1)
    this.#forgetIdentifiers(user)
    this.#users.delete(position.arrival)
    this.#arrivals.delete(user.id)
    this.#tombstones.set(user.id, position)
    for (const [id] of this.#tombstones) {
      if (this.#tombstones.size <= TOMBSTONE_LIMIT) break
      this.#tombstones.delete(id)
    }
  }

  /**
   * Adds `count` made-up users, one a second, the youngest at `lastCreatedAtMs`.
   *
   * @returns the new users, made while they are read
   */
  seed(count: number, lastCreatedAtMs: number): IterableIterator<User> {
    const first = this.#nextArrival
    this.#seeded.add(first, count, lastCreatedAtMs)
    this.#nextArrival += count
    const seeded = Array.from({ length: count }, (_, index) => first + index)
    this.#order = this.#order.concat(seeded)
    // The new ones alone are in order already; older users make a merge necessary.
    if (seeded.length < this.#order.length) {
      this.#order.sort((a, b) => comparePositions(this.#position(a), this.#position(b)))
    }
    return seeded.values().map((arrival) => this.#at(arrival) as User)
  }

  /** All users, oldest first. Not to be held over a change. */
  *values(): Generator<User> {
    for (const arrival of this.#order) yield this.#at(arrival) as User
  }

  /** One page in order of creation, at the cost of the page alone, wherever it lies. */
  page(options: { descending: boolean; after: Position | undefined; offset: number; limit: number }): User[] {
    const { descending, after, offset, limit } = options
    const order = this.#order
    const page: User[] = []
    const step = descending ? -1 : 1
    let index = descending ? order.length - 1 : 0
    if (after) {
      const at = this.#indexOf(after)
      const isThere = order[at] === after.arrival
      index = descending ? at - 1 : at + (isThere ? 1 : 0)
    }
    for (index += step * offset; index >= 0 && index < order.length && page.length < limit; index += step) {
      page.push(this.#at(order[index] as number) as User)
    }
    return page
  }

  #at(arrival: number): User | undefined {
    const user = this.#users.get(arrival)
    if (user) return user
    const position = this.#position(arrival)
    return this.#order[this.#indexOf(position)] === arrival
      ? this.#seeded.make(arrival, position.createdAtMs)
      : undefined
  }

  #position(arrival: number): Position {
    const createdAtMs = this.#users.get(arrival)?.created_at ?? (this.#seeded.createdAt(arrival) as number)
    return { createdAtMs, arrival }
  }

  /** The index of a position in the order, or of the first one after it. */
  #indexOf(position: Position): number {
    let low = 0
    let high = this.#order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (comparePositions(this.#position(this.#order[middle] as number), position) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  #forgetIdentifiers(user: User): void {
    for (const key of identifierKeys(user)) this.#identifiers.delete(key)
  }
}

const identifierKey = (kind: IdentifierKind, value: string) => `${kind}:${value.toLowerCase()}`

function identifierKeys(user: User): string[] {
  return [
    ...user.email_addresses.map((address) => identifierKey('email_address', address.email_address)),
    ...user.phone_numbers.map((number) => identifierKey('phone_number', number.phone_number)),
    ...(user.username === null ? [] : [identifierKey('username', user.username)]),
  ]
}

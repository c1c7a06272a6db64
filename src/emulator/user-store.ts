import type { User } from './schemas.ts'
import { SeededUsers } from './seeded-users.ts'

/** A position in the order of creation: `created_at`, and the order of arrival between equals. */
export interface Position {
  createdAtMs: number
  arrival: number
}

/** When users were created, in ms since 1970; both ends are exclusive. */
export interface CreationRange {
  afterMs?: number | undefined
  beforeMs?: number | undefined
}

interface Walk {
  isDescending?: boolean
  /** The user after whom it starts, who may have been deleted. */
  after?: Position | undefined
  created?: CreationRange
}

/** The identifiers that Clerk keeps unique within an instance. */
export type IdentifierKind = 'email_address' | 'phone_number' | 'username'

const TOMBSTONE_LIMIT = 10_000

export const comparePositions = (a: Position, b: Position) => a.createdAtMs - b.createdAtMs || a.arrival - b.arrival

/**
 * All users in order of creation, with lookup by id or identifier. Users are not copied: treat them as immutable and `put` a
 * changed copy.
 *
 * Every user has an arrival number, and `#order` holds these numbers sorted by `Position`. Seeded users are made on demand and
 * stored only after a change, so that a million of them cost one number each.
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

  /** Finds a user by id; undefined if there is none, or if it was deleted. */
  find(id: string): User | undefined {
    const arrival = this.#arrivals.get(id) ?? this.#seeded.numberOfId(id)
    return arrival === undefined ? undefined : this.#at(arrival)
  }

  /** Finds the user who holds an identifier; email addresses and usernames are compared without case, as Clerk does. */
  findByIdentifier(kind: IdentifierKind, value: string): User | undefined {
    const arrival = this.#identifiers.get(identifierKey(kind, value))
    if (arrival !== undefined) return this.#at(arrival)
    const seeded = kind === 'email_address' ? this.#seeded.numberOfEmail(value.toLowerCase()) : undefined
    // A seeded user that was changed is found by its current identifiers only.
    return seeded === undefined || this.#users.has(seeded) ? undefined : this.#at(seeded)
  }

  /** The position of a user, even of a deleted one, so that it can still be a cursor. */
  positionOf(id: string): Position | undefined {
    const arrival = this.#arrivals.get(id) ?? this.#seeded.numberOfId(id)
    return arrival === undefined ? this.#tombstones.get(id) : this.#position(arrival)
  }

  /** Adds a user, or replaces the one with the same id. `created_at` must not change. */
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

  /** Removes a user, which must exist. */
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
   * Adds `count` generated users, one per second, the last at `lastCreatedAtMs`.
   *
   * @returns the new users, generated while they are read
   */
  seed(count: number, lastCreatedAtMs: number): IterableIterator<User> {
    const first = this.#nextArrival
    this.#seeded.add(first, count, lastCreatedAtMs)
    this.#nextArrival += count
    const seeded = Array.from({ length: count }, (_, index) => first + index)
    this.#order = this.#order.concat(seeded)
    // New users are already sorted; if there are later existing ones, both are merged.
    if (seeded.length < this.#order.length) {
      this.#order.sort((a, b) => comparePositions(this.#position(a), this.#position(b)))
    }
    return seeded.values().map((arrival) => this.#at(arrival) as User)
  }

  /** All users, oldest first. Do not keep the iterator across a change. */
  values(): IteratorObject<User> {
    return this.walk({})
  }

  /** The number of users created within a range, at the cost of two binary searches. */
  count(created: CreationRange): number {
    const { from, to } = this.#bounds(created)
    return Math.max(0, to - from)
  }

  /** The users of a range in order of creation; only those that are read cost time. Do not keep the iterator across a change. */
  *walk({ isDescending = false, after, created = {} }: Walk): Generator<User, undefined> {
    let { from, to } = this.#bounds(created)
    if (after) {
      const at = this.#indexOf(after)
      if (isDescending) to = Math.min(to, at)
      else from = Math.max(from, this.#order[at] === after.arrival ? at + 1 : at)
    }
    for (const arrival of this.#arrivalsOf(from, to, isDescending)) yield this.#at(arrival) as User
  }

  /**
   * All users in order of their last change. Unchanged seeded users are already in the order of creation, so only the others are
   * sorted. Do not keep the iterator across a change.
   */
  *walkByUpdate(isDescending: boolean): Generator<User, undefined> {
    const direction = isDescending ? -1 : 1
    const keyOf = (user: User) => ({ ...(this.positionOf(user.id) as Position), createdAtMs: user.updated_at })
    const changed = this.#users
      .values()
      .map((user) => ({ user, key: keyOf(user) }))
      .toArray()
    changed.sort((a, b) => direction * comparePositions(a.key, b.key))
    let next = 0
    for (const arrival of this.#arrivalsOf(0, this.size, isDescending)) {
      if (this.#users.has(arrival)) continue
      const user = this.#at(arrival) as User
      for (; next < changed.length; next += 1) {
        const one = changed[next] as (typeof changed)[number]
        if (direction * comparePositions(one.key, keyOf(user)) > 0) break
        yield one.user
      }
      yield user
    }
    for (const { user } of changed.slice(next)) yield user
  }

  *#arrivalsOf(from: number, to: number, isDescending: boolean): Generator<number, undefined> {
    const step = isDescending ? -1 : 1
    for (let index = isDescending ? to - 1 : from; index >= from && index < to; index += step) {
      yield this.#order[index] as number
    }
  }

  /** The start and end index of a range in the order. */
  #bounds({ afterMs, beforeMs }: CreationRange): { from: number; to: number } {
    return {
      from: afterMs === undefined ? 0 : this.#indexOf({ createdAtMs: afterMs, arrival: Number.POSITIVE_INFINITY }),
      to: beforeMs === undefined ? this.#order.length : this.#indexOf({ createdAtMs: beforeMs, arrival: -1 }),
    }
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

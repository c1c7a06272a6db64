import type { Session } from './schemas.ts'

const OVER_LIMIT = 10_000

/** All sessions, oldest first. Only the last 10,000 ended ones are kept, because Clerk cleans up old sessions too. */
export class SessionStore {
  readonly #sessions = new Map<string, Session>()
  readonly #byUser = new Map<string, Set<string>>()
  readonly #over: string[] = []

  get size(): number {
    return this.#sessions.size
  }

  find(id: string): Session | undefined {
    return this.#sessions.get(id)
  }

  /** Adds a session, or replaces the one with the same id. */
  put(session: Session): void {
    const former = this.#sessions.get(session.id)
    this.#sessions.set(session.id, session)
    const ofUser = this.#byUser.get(session.user_id) ?? new Set()
    this.#byUser.set(session.user_id, ofUser.add(session.id))
    if (former && isLive(former) && !isLive(session)) this.#over.push(session.id)
    if (this.#over.length > OVER_LIMIT) this.#forget(this.#over.shift() as string)
  }

  /** The sessions of one user, oldest first. */
  ofUser(userId: string): Session[] {
    const ids = this.#byUser.get(userId) ?? new Set<string>()
    return [...ids].map((id) => this.#sessions.get(id) as Session)
  }

  values(): Iterable<Session> {
    return this.#sessions.values()
  }

  #forget(id: string): void {
    const session = this.#sessions.get(id) as Session
    this.#sessions.delete(id)
    const ofUser = this.#byUser.get(session.user_id) as Set<string>
    ofUser.delete(id)
    if (ofUser.size === 0) this.#byUser.delete(session.user_id)
  }
}

/** Whether a session can still be used, or become usable. */
export const isLive = (session: Session) => session.status === 'active' || session.status === 'pending'

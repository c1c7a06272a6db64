import { identifierExists, notFound, parameterInvalid, userBanned } from './clerk-error.ts'
import { newId } from './ids.ts'
import { later } from './organization-json.ts'
import { Organizations } from './organizations.ts'
import type { DeletedUser, Session, SessionStatus, User, UserAttributes, UserPatch } from './schemas.ts'
import { newSession } from './session-json.ts'
import { isLive, SessionStore } from './session-store.ts'
import { mintSessionToken, type SessionClaims, type TokenOverrides } from './session-token.ts'
import type { SigningKeys } from './signing-keys.ts'
import { blankUser, patchUser, type VerificationStrategy } from './user-json.ts'
import { UserStore } from './user-store.ts'

export interface InstanceOptions {
  keys: SigningKeys
  /** The `iss` of the tokens. */
  issuer: () => string
  authorizedParty: string
  tokenTtlSeconds: number
  sessionClaims: SessionClaims
  /** Unix ms. */
  now: () => number
  /** Called with every event, in the order of the changes. */
  emit: (type: string, data: object) => void
}

/**
 * A Clerk instance: its users and sessions, and the events of their changes.
 *
 * Every operation throws a `ClerkError` if Clerk would refuse it. Returned objects are the stored ones, and must not be changed.
 */
export class ClerkInstance {
  readonly users = new UserStore()
  readonly sessions = new SessionStore()
  readonly organizations: Organizations
  readonly #options: InstanceOptions

  constructor(options: InstanceOptions) {
    this.#options = options
    this.organizations = new Organizations({
      now: options.now,
      emit: options.emit,
      getUser: (id) => this.getUser(id),
    })
  }

  getUser(id: string): User {
    const user = this.users.find(id)
    if (!user) throw notFound('user', id)
    return user
  }

  getSession(id: string): Session {
    const session = this.sessions.find(id)
    if (!session) throw notFound('session', id)
    return session
  }

  createUser(attributes: UserAttributes = {}, strategy: VerificationStrategy = 'code'): User {
    const now = this.#options.now()
    const id = attributes.id ?? newId('user', now)
    // Clerk never reuses an id, not even after a deletion.
    if (this.users.positionOf(id)) throw parameterInvalid('id', id)
    const isAnonymous = attributes.email == null && attributes.phone == null && attributes.username == null
    const email = isAnonymous ? `${id.slice(-8).toLowerCase()}-${this.users.size + 1}@example.com` : attributes.email
    this.#assertFree({ ...attributes, email }, id)
    const createdAtMs = attributes.createdAt ?? now
    const user = patchUser(blankUser(id, createdAtMs), { ...attributes, email }, createdAtMs, strategy)
    this.users.put(user)
    this.#options.emit('user.created', user)
    return user
  }

  updateUser(id: string, patch: UserPatch, strategy: VerificationStrategy = 'code'): User {
    const user = this.getUser(id)
    this.#assertFree(patch, id)
    return this.#touch(patchUser(user, patch, this.#options.now(), strategy))
  }

  /** Also revokes all the user's sessions. */
  banUser(id: string): User {
    const user = this.#touch({ ...this.getUser(id), banned: true })
    for (const session of this.sessions.ofUser(id).filter(isLive)) this.#endSession(session, 'revoked')
    return user
  }

  unbanUser(id: string): User {
    return this.#touch({ ...this.getUser(id), banned: false })
  }

  /** Also deletes the user's sessions, without events about them. */
  deleteUser(id: string): DeletedUser {
    const user = this.getUser(id)
    this.organizations.forgetUser(id)
    this.users.delete(user)
    for (const session of this.sessions.ofUser(id).filter(isLive)) {
      this.sessions.put({ ...session, status: 'removed', updated_at: this.#after(session.updated_at) })
    }
    const deleted: DeletedUser = { object: 'user', id, deleted: true }
    if (user.external_id !== null) deleted.external_id = user.external_id
    this.#options.emit('user.deleted', deleted)
    return deleted
  }

  /** A pending session has a task, such as choosing an organization; `activateSession` completes it. */
  signIn(userId: string, { status = 'active' }: { status?: 'active' | 'pending' } = {}): Session {
    const user = this.getUser(userId)
    if (user.banned) throw userBanned()
    const now = this.#options.now()
    const session = newSession(userId, status, now)
    this.sessions.put(session)
    this.#touch({ ...user, last_sign_in_at: now, last_active_at: now })
    this.#emitSession(status === 'active' ? 'session.created' : 'session.pending', session)
    return session
  }

  activateSession(id: string): Session {
    const session = this.#liveSession(id)
    const activated: Session = { ...session, status: 'active', updated_at: this.#after(session.updated_at) }
    this.sessions.put(activated)
    this.#emitSession('session.created', activated)
    return activated
  }

  /** Sets or clears the session's active organization. */
  chooseOrganization(id: string, organizationId: string | null): Session {
    const session = this.#liveSession(id)
    if (organizationId !== null && !this.organizations.isMember(organizationId, session.user_id)) {
      throw notFound('organization', organizationId)
    }
    const chosen: Session = {
      ...session,
      last_active_organization_id: organizationId,
      updated_at: this.#after(session.updated_at),
    }
    this.sessions.put(chosen)
    return chosen
  }

  /** The user signed out of this session. */
  endSession(id: string): Session {
    return this.#endSession(this.#liveSession(id), 'ended')
  }

  /** The user signed out of all sessions of this client. */
  removeSession(id: string): Session {
    return this.#endSession(this.#liveSession(id), 'removed')
  }

  /** The application, or the user on another device, ended the session. */
  revokeSession(id: string): Session {
    return this.#endSession(this.#liveSession(id), 'revoked')
  }

  /** A token of this session; for an ended session, as if it had been issued before. */
  sessionToken(sessionId: string, overrides?: TokenOverrides): string {
    const { keys, issuer, authorizedParty, tokenTtlSeconds, sessionClaims, now } = this.#options
    const session = this.getSession(sessionId)
    const user = this.users.find(session.user_id)
    const customClaims = user
      ? {
          ...sessionClaims(user, session),
          ...this.organizations.claimsOf(session.last_active_organization_id, user.id),
        }
      : {}
    return mintSessionToken(
      { session, customClaims, issuer: issuer(), authorizedParty, ttlSeconds: tokenTtlSeconds, nowMs: now(), keys },
      overrides,
    )
  }

  /** Adds many users: `seed-<n>@example.com`, created one per second until now. */
  seedUsers(count: number, { emit = false }: { emit?: boolean } = {}): void {
    const seeded = this.users.seed(count, this.#options.now())
    if (emit) for (const user of seeded) this.#options.emit('user.created', user)
  }

  #assertFree({ email, otherEmails = [], phone, username }: UserPatch, ownId: string): void {
    const identifiers = [
      ...[email, ...otherEmails].map((value) => ['email_address', value] as const),
      ['phone_number', phone] as const,
      ['username', username] as const,
    ]
    for (const [kind, value] of identifiers) {
      const holder = value == null ? undefined : this.users.findByIdentifier(kind, value)
      if (holder && holder.id !== ownId) throw identifierExists(kind)
    }
  }

  /** Stores a changed user with a later `updated_at`. */
  #touch(changed: User): User {
    const user = { ...changed, updated_at: this.#after(changed.updated_at) }
    this.users.put(user)
    this.#options.emit('user.updated', user)
    return user
  }

  #after = (beforeMs: number) => later(this.#options.now(), beforeMs)

  #liveSession(id: string): Session {
    const session = this.getSession(id)
    if (!isLive(session)) throw notFound('session', id)
    return session
  }

  #endSession(session: Session, status: SessionStatus): Session {
    const ended = { ...session, status, updated_at: this.#after(session.updated_at) }
    this.sessions.put(ended)
    this.#emitSession(`session.${status}`, ended)
    return ended
  }

  #emitSession(type: string, session: Session): void {
    this.#options.emit(type, { ...session, user: this.getUser(session.user_id) })
  }
}

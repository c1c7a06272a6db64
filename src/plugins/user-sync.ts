/**
 * The explicit sync and the just-in-time sync, which ensure that every user with a valid token has a row. Profiles come from Clerk's
 * Backend API if it answers, otherwise from the signed claims, never from the caller.
 */
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { createUserLookup, type UserLookupOptions } from '../clerk/user-lookup.ts'
import { isReadOnly } from '../db/errors.ts'
import type { ActiveOrganization } from '../domain/authorization.ts'
import type { Change } from '../domain/change.ts'
import { asksForMembership } from '../domain/conditions.ts'
import { type OrganizationRows, resolveMembership } from '../domain/membership.ts'
import type { SessionToken } from '../domain/session-token.ts'
import {
  MembershipEnded,
  SessionPending,
  SessionRevoked,
  UserBanned,
  UserDeleted,
  UserDeprovisioned,
  UserNotSynced,
} from '../errors.ts'
import type { AuthKey, AuthState } from '../resources/auth-state.ts'
import type { Organization } from '../resources/organization/payload.ts'
import { isFinal } from '../resources/session/change.ts'
import { claimsChange, claimsIssuedAt, describesUser, type SyncSource } from '../resources/user/change.ts'
import type { User } from '../resources/user/payload.ts'
import { apiCallChannel, apiSkipChannel, publish, syncChannel } from './channels.ts'
import { backendApi, checkOptions, flag, optional, optionsOf } from './check-options.ts'
import { decorateWithGuard, type GuardFactory } from './guards.ts'

export interface UserSyncOptions {
  /** Whether any authenticated call syncs a missing row; default true. */
  autoSync?: boolean
  /** Clerk's Backend API; without it profiles come from claims only. */
  backendApi?: UserLookupOptions
}

export interface SyncResult {
  user: User
  created: boolean
  source: Exclude<SyncSource, 'webhook'> | 'database'
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Creates the row or brings it up to date. Rejects like the guard. */
    clerkSyncUser: (request: FastifyRequest) => Promise<SyncResult>
    /**
     * Makes the guard of routes that need the user's row: `app.get('/x', { onRequest: app.requireClerkUser() }, …)`. A missing row is
     * synced first. The handler finds it in `request.clerkUser`. Takes the same conditions as `requireClerkAuth`, which are checked
     * last. Conditions on the organization (`{ organization: true }`, `{ role }`, `{ permission }`) are checked against the rows of
     * the membership if these are newer than the token, and set `request.clerkOrganization`.
     */
    requireClerkUser: GuardFactory
    /** The organizations of the user of an admitted request, and the id of the token's; null if its membership has ended. */
    clerkListOrganizations: (
      request: FastifyRequest,
    ) => Promise<{ active: string | null; organizations: Organization[] }>
  }
  interface FastifyRequest {
    /** The row of the token's user; null on routes without `requireClerkUser`. */
    clerkUser: User | null
  }
}

const OPTIONS = optionsOf<UserSyncOptions>({ autoSync: flag, backendApi: optional(backendApi) })

/** Decorates the app with `requireClerkUser()`, the guard with just-in-time sync, and `clerkSyncUser(request)`. */
export default fp<UserSyncOptions>(
  async (app, options) => {
    checkOptions('clerkUserSync', OPTIONS, options)
    const { autoSync = true } = options
    const repository = app.clerkRepository
    const { server } = app
    const onAnswer = (status: number) => publish(apiCallChannel, { server, status })
    const findAtClerk = options.backendApi && createUserLookup({ ...options.backendApi, onAnswer })

    /** Writes what Clerk says about the user now. Resolves to its source, and to the state after it. */
    async function refresh(
      request: FastifyRequest,
      auth: SessionToken,
      key: AuthKey,
      state: AuthState,
    ): Promise<Refreshed> {
      const isUnknown = state.user === undefined
      const unchanged: Refreshed = { state, created: false, source: 'database' }
      const lookup = await findAtClerk?.(auth.userId)
      if (lookup?.answer.state === 'found') {
        // An answer that is reused has already been written, unless that failed.
        if (!lookup.isFresh && !isUnknown) return unchanged
        return { ...(await write({ user: lookup.answer.user, returns: key })), source: 'clerk_api' }
      }
      if (lookup?.answer.state === 'absent' && isUnknown) throw new UserDeleted()
      if (lookup?.answer.state === 'not-asked') publish(apiSkipChannel, { server, reason: lookup.answer.reason })
      if (lookup?.isFresh) {
        const { answer } = lookup
        request.log.warn({ userId: auth.userId, answer }, 'the Backend API did not give the user')
      }
      return isUnknown || mayChangeRow(auth) ? writeClaims(auth, key) : unchanged
    }

    // Tokens whose claims PostgreSQL has compared with the row. Comparing them again would change nothing, unless the row is missing.
    const compared = new WeakSet<SessionToken>()
    const mayChangeRow = (auth: SessionToken) => !compared.has(auth) && describesUser(auth.claims)

    /** Writes what the token says about its user, unless it is older than the row or the session ended: PostgreSQL decides. */
    async function writeClaims(auth: SessionToken, key: AuthKey): Promise<Refreshed> {
      const { outcome, created, state } = await write({ user: claimsChange(auth), returns: key })
      compared.add(auth)
      return { state, created, source: outcome === 'applied' ? 'session_claims' : 'database' }
    }

    /** Like `writeClaims`; but if the database is read-only, such as a standby during a failover, resolves to the row. */
    async function writeOrRead(auth: SessionToken, key: AuthKey): Promise<Refreshed> {
      try {
        return await writeClaims(auth, key)
      } catch (error) {
        if (!isReadOnly((error as Error).cause)) throw error
        const state = await repository.findAuthState(key)
        if (!state.user && !state.isDeleted) throw error
        return { state, created: false, source: 'database' }
      }
    }

    async function write(change: Change & { returns: AuthKey }) {
      const result = await repository.apply(change)
      if ('error' in result) throw result.error
      const { outcome, created, state } = result
      return { outcome, created, state: state as AuthState }
    }

    // The reason for a refusal may have changed at Clerk, so the Backend API is asked first.
    const mayBeOutdated = ({ isDeleted, isInferred, isBanned, isDeprovisioned }: AuthState) =>
      findAtClerk !== undefined && (isDeleted ? isInferred : isBanned || isDeprovisioned)

    app.decorateRequest('clerkUser', null)

    async function sync(request: FastifyRequest, auth: SessionToken): Promise<Refreshed> {
      const key = authKeyOf(auth)
      // The claims of a new token are usually newer than the row, so they are written without reading it first.
      if (!findAtClerk && !auth.isPending && mayChangeRow(auth)) return writeOrRead(auth, key)
      const before = await repository.findAuthState(key)
      if ((before.isDeleted || before.user) && !mayBeOutdated(before)) allowedUser(auth, before)
      return refresh(request, auth, key, before)
    }

    app.decorate('clerkSyncUser', async (request: FastifyRequest) => {
      const startedAt = performance.now()
      const auth = await app.clerkAuthenticate(request)
      const { created, source, state } = await sync(request, auth)
      const user = allowedUser(auth, state)
      publish(syncChannel, { server, source, created })
      request.log.info({ userId: user.id, source, created, durationMs: msSince(startedAt) }, 'synced')
      return { user, created, source }
    })

    async function admit(request: FastifyRequest, auth: SessionToken, asksForMembership: boolean): Promise<void> {
      const key = authKeyOf(auth, asksForMembership)
      let state = await repository.findAuthState(key)
      if (autoSync && state.user === undefined && (!state.isDeleted || mayBeOutdated(state))) {
        const startedAt = performance.now()
        const refreshed = await refresh(request, auth, key, state)
        const { created, source } = refreshed
        publish(syncChannel, { server, source, created })
        request.log.info(
          { userId: auth.userId, source, created, durationMs: msSince(startedAt) },
          'synced just in time',
        )
        state = refreshed.state
      }
      request.clerkUser = allowedUser(auth, state)
      request.clerkOrganization = livingMembership(auth, state)
    }

    app.decorate('clerkListOrganizations', async ({ clerkAuth }: FastifyRequest) => {
      const auth = clerkAuth as SessionToken
      const [organizations, { organization: rows }] = await Promise.all([
        repository.findOrganizationsOf(auth.userId),
        repository.findAuthState(authKeyOf(auth, true)),
      ])
      return { active: (rows && membershipOf(auth, rows)?.id) ?? null, organizations }
    })

    decorateWithGuard(app, 'requireClerkUser', async (request, conditions) => {
      const auth = await app.clerkAuthenticate(request)
      const isForwardAuth = request.routeOptions.config.isForwardAuth === true
      await admit(request, auth, isForwardAuth || asksForMembership(conditions))
    })
  },
  { name: 'clerk-user-sync', fastify: '5.x', dependencies: ['clerk-auth', 'clerk-database'] },
)

interface Refreshed extends Omit<SyncResult, 'user'> {
  state: AuthState
}

/** @param asksForMembership whether the rows of the active organization are needed */
function authKeyOf(auth: SessionToken, asksForMembership = false): AuthKey {
  const { userId, sessionId } = auth
  // Most requests do not ask, and need not decode the token's rights.
  const organization = asksForMembership ? auth.authorization.organization : null
  if (organization === null) return { userId, sessionId }
  const issuedAtMs = claimsIssuedAt(auth.issuedAtSeconds)
  return { userId, sessionId, organization: { id: organization.id, role: organization.role, issuedAtMs } }
}

/** Returns the user, or throws the refusal; of several reasons, the first in this order. */
function allowedUser(auth: SessionToken, state: AuthState): User {
  if (state.isDeleted) throw new UserDeleted()
  if (state.isBanned) throw new UserBanned()
  if (state.isDeprovisioned) throw new UserDeprovisioned()
  if (auth.isPending) throw new SessionPending()
  if (isOver(state)) throw new SessionRevoked()
  if (!state.user) throw new UserNotSynced()
  return state.user
}

/** The membership, if it was read; null without an active organization. */
function livingMembership(auth: SessionToken, { organization: rows }: AuthState) {
  if (!rows) return null
  const membership = membershipOf(auth, rows)
  if (!membership) throw new MembershipEnded()
  return membership
}

// Rows are read only if the token names an organization.
const membershipOf = ({ authorization, issuedAtSeconds }: SessionToken, rows: OrganizationRows) =>
  resolveMembership(authorization.organization as ActiveOrganization, claimsIssuedAt(issuedAtSeconds), rows)

const msSince = (startedAt: number) => Math.round((performance.now() - startedAt) * 100) / 100

const isOver = ({ sessionStatus }: AuthState) => sessionStatus !== undefined && isFinal(sessionStatus)

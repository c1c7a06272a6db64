import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { createWebhookSigner } from '../sign-webhook.ts'
import type { Faults } from './faults.ts'
import { portOf, startServer } from './http/server.ts'
import { newId } from './ids.ts'
import { ClerkInstance } from './instance.ts'
import type { DeletedCursor } from './list-users.ts'
import { CLERK_RATE_LIMITS, type RateLimit } from './rate-limit.ts'
import type { DeletedUser, Session, User, UserAttributes, UserPatch } from './schemas.ts'
import type { SessionClaims, TokenOverrides } from './session-token.ts'
import { SigningKeys } from './signing-keys.ts'
import { Stats } from './stats.ts'
import { type SvixHeaders, signBody } from './svix-signature.ts'
import { Webhooks } from './webhooks.ts'

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/** Source: https://docs.svix.com/retries. */
const SVIX_RETRY_SCHEDULE_MS = [
  5 * SECOND_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  10 * HOUR_MS,
]
const SVIX_TIMEOUT_MS = 15 * SECOND_MS
/** A lower bound, because a time limit scaled with the schedule would be too short for any database. */
const MIN_TIMEOUT_MS = 3 * SECOND_MS

export interface ClerkEmulatorOptions {
  /** The port; 0, the default, for any free one. */
  port?: number
  /** The secret key; `sk_live_…` makes it a production instance. Default: a random key of a development instance. */
  secretKey?: string
  /** The signing secret: `whsec_` and base64. */
  webhookSecret?: string
  /** May be set later: `clerk.webhooks.url = '…'`. */
  webhookUrl?: string
  /** Further origins whose pages may call. Default: none. */
  allowedOrigins?: readonly string[]
  /** The `azp` of the tokens. Default `http://localhost:5173`. */
  authorizedParty?: string
  /** The delays before the second, third… attempt; not scaled. Default: Svix's, scaled by `retryScale`. */
  retryScheduleMs?: number[]
  /** Default 1/1000. */
  retryScale?: number
  /** The time limit of an attempt. Default: Svix's 15 s scaled by `retryScale`, at least 3 s. */
  webhookTimeoutMs?: number
  /** Default 60, as Clerk's. */
  tokenTtlSeconds?: number
  /** The instance's "customize session token" setting. Default: no claims. */
  sessionClaims?: SessionClaims
  /** The clock of everything but the webhooks' signatures, Unix ms. */
  now?: () => number
  /** The rate limit of the Backend API: `clerk` is Clerk's own for this kind of instance. Default: none. */
  rateLimit?: RateLimit | 'clerk'
  /** Whether a list continues after a deleted `starting_after` (default) or answers 422. */
  deletedCursor?: DeletedCursor
}

export type ClerkEmulator = Awaited<ReturnType<typeof createClerkEmulator>>

/**
 * Starts a Clerk instance on 127.0.0.1: Frontend API (the keys), Backend API, webhooks, and a control API under `/emulator`. It is
 * in memory only, and must be closed.
 *
 * @throws if the port is in use
 */
export async function createClerkEmulator(options: ClerkEmulatorOptions = {}) {
  const { now = Date.now, retryScale = 1 / 1000 } = options
  const secretKey = options.secretKey ?? `sk_test_${randomBytes(30).toString('base64url').replace(/[-_]/g, 'x')}`
  const webhookSecret = options.webhookSecret ?? `whsec_${randomBytes(24).toString('base64')}`
  const instanceId = newId('ins', now())
  const keys = new SigningKeys(now)
  const environmentType = secretKey.startsWith('sk_live_') ? 'production' : 'development'
  const stats = new Stats(options.rateLimit === 'clerk' ? CLERK_RATE_LIMITS[environmentType] : options.rateLimit)
  const faults: Faults = {}
  const webhooks = new Webhooks({
    url: options.webhookUrl,
    secret: webhookSecret,
    instanceId,
    retryScheduleMs: options.retryScheduleMs ?? SVIX_RETRY_SCHEDULE_MS.map((ms) => ms * retryScale),
    timeoutMs: options.webhookTimeoutMs ?? Math.max(SVIX_TIMEOUT_MS * retryScale, MIN_TIMEOUT_MS),
    now,
  })
  const instance = new ClerkInstance({
    keys,
    issuer: () => url,
    authorizedParty: options.authorizedParty ?? 'http://localhost:5173',
    tokenTtlSeconds: options.tokenTtlSeconds ?? 60,
    sessionClaims: options.sessionClaims ?? (() => ({})),
    now,
    emit: (type, data) => void webhooks.send(type, data),
  })
  const app: FastifyInstance = await startServer(
    {
      instance,
      keys,
      webhooks,
      stats,
      faults,
      secretKey,
      deletedCursor: options.deletedCursor ?? 'resume',
      instanceId,
      environmentType,
      allowedOrigins: options.allowedOrigins ?? [],
      publishableKey: () => publishableKey,
      issuer: () => url,
      now,
    },
    options.port ?? 0,
  )
  const host = `127.0.0.1:${portOf(app)}`
  const url = `http://${host}`
  const publishableKey = `pk_${environmentType === 'production' ? 'live' : 'test'}_${Buffer.from(`${host}$`).toString('base64')}`

  return {
    url,
    issuer: url,
    apiUrl: url,
    secretKey,
    webhookSecret,
    publishableKey,
    instanceId,
    webhooks,
    stats,
    faults,

    /** The current public key, PEM (SPKI). */
    get jwtKey(): string {
      return keys.toPem()
    },
    /** Signs with a new key from now on; the JWKS lists the old ones until `dropOldKeys()`. */
    rotateKeys({ keepOld = true }: { keepOld?: boolean } = {}): void {
      keys.rotate(keepOld)
    },
    dropOldKeys(): void {
      keys.dropOld()
    },

    // Copies arguments and results, so that changing an object does not change the instance.
    createUser: (attributes?: UserAttributes): User => copy(instance.createUser(copy(attributes))),
    updateUser: (id: string, patch: UserPatch): User => copy(instance.updateUser(id, copy(patch))),
    banUser: (id: string): User => copy(instance.banUser(id)),
    unbanUser: (id: string): User => copy(instance.unbanUser(id)),
    deleteUser: (id: string): DeletedUser => instance.deleteUser(id),
    getUser: (id: string): User => copy(instance.getUser(id)),
    /** All users, oldest first. Do not keep the iterator across a change. */
    users: (): IterableIterator<User> => instance.users.values().map(copy),
    /** Adds users by the thousand, `seed-<n>@example.com`, created one a second up to now; by default without events. */
    seedUsers: (count: number, settings?: { emit?: boolean }): void => instance.seedUsers(count, settings),

    /** Organizations, their members, invitations and roles: each change emits its events. */
    organizations: instance.organizations,
    /** Sets the session's active organization, which later tokens contain. */
    chooseOrganization: (sessionId: string, organizationId: string | null): Session =>
      copy(instance.chooseOrganization(sessionId, organizationId)),

    signIn: (userId: string, settings?: { status?: 'active' | 'pending' }): Session =>
      copy(instance.signIn(userId, settings)),
    /** Completes a pending session's task. */
    activateSession: (id: string): Session => copy(instance.activateSession(id)),
    endSession: (id: string): Session => copy(instance.endSession(id)),
    removeSession: (id: string): Session => copy(instance.removeSession(id)),
    revokeSession: (id: string): Session => copy(instance.revokeSession(id)),
    getSession: (id: string): Session => copy(instance.getSession(id)),
    /** A signed token of the session; for an ended session, as if it had been issued before. */
    sessionToken: (sessionId: string, overrides?: TokenOverrides): string =>
      instance.sessionToken(sessionId, overrides),

    /** The Svix headers for a body; by default a new message, signed now with the instance's secret. */
    sign(body: string, settings: { id?: string; timestampSeconds?: number; secret?: string } = {}): SvixHeaders {
      const { id = newId('msg', Date.now()), timestampSeconds = Math.floor(Date.now() / 1000) } = settings
      return signBody(createWebhookSigner(settings.secret ?? webhookSecret), id, timestampSeconds, body)
    },

    /** Ends every connection, timer and retry. May be called again. */
    async close(): Promise<void> {
      await Promise.all([webhooks.close(), app.close()])
    },
  }
}

const copy = <T>(value: T): T => structuredClone(value)

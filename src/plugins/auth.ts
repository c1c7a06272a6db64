/**
 * Verifies Clerk session tokens with the keys of `clerk/jwks.ts`. A bad token is refused with a 401 whose code says why. If its
 * key cannot be fetched, the answer is 503, never 401.
 */
import { createPublicKey } from 'node:crypto'
import fastifyJwt, { type FastifyJwtVerifyOptions } from '@fastify/jwt'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { createJwks, type Jwks, type JwksOptions, type KeyLookup } from '../clerk/jwks.ts'
import { createNativeTokens } from '../clerk/native-tokens.ts'
import { createVerifiedTokens } from '../clerk/verified-tokens.ts'
import type { JsonObject } from '../domain/clean.ts'
import type { Conditions } from '../domain/conditions.ts'
import { askedMethod, isCrossSite, normalizeOrigin } from '../domain/origin.ts'
import {
  CLOCK_TOLERANCE_SECONDS,
  claimsFault,
  headerFault,
  readSessionToken,
  type SessionToken,
  type TokenHeader,
  type TokenRules,
} from '../domain/session-token.ts'
import { CrossSiteRequest, InvalidToken, JwksUnavailable, retryAfter, SessionPending, TokenExpired } from '../errors.ts'
import { tokenTracing } from './channels.ts'
import { checkOptions, flag, object, optional, optionsOf, text, texts } from './check-options.ts'
import { type Credential, createCredentialFinder } from './credentials.ts'
import errorHeaders from './error-headers.ts'
import { assertConditions, checkConditions, decorateWithGuard, type GuardFactory } from './guards.ts'
import privateReplies from './private-replies.ts'

export interface AuthOptions {
  /** Clerk's Frontend API URL, as in `iss`. */
  issuer: string
  /** A PEM public key, which is used instead of fetching keys. */
  jwtKey?: string
  /** The origins that `azp` may name. Without them, Clerk's cookies are ignored. */
  authorizedParties?: readonly string[]
  /** Further origins whose pages may send a cookie with a request that changes something, such as a POST. */
  trustedOrigins?: readonly string[]
  /** `pk_…`: names the cookies of this instance, which then take precedence over `__session`. */
  publishableKey?: string
  /** Whether a token without `azp` is accepted although `authorizedParties` is set; false by default. */
  isAzpOptional?: boolean
  /** Whether tokens of custom JWT templates are accepted; false by default. */
  allowsJwtTemplates?: boolean
  /** The time limits of the key store. */
  jwks?: Omit<JwksOptions, 'issuer' | 'log'>
}

/** The state of the keys, for health checks and metrics. */
export type KeysStatus = ReturnType<Jwks['status']> | undefined

declare module 'fastify' {
  interface FastifyInstance {
    /** The state of the key store; undefined with a fixed key. */
    clerkKeysStatus: () => KeysStatus
    /** Whether the issuer has a key with this id: found, absent, or unavailable if that is not known now. */
    clerkFindKey: (kid: string) => Promise<KeyLookup['state']>
    /** Verifies the request's token, and rejects with the error to answer with. */
    clerkAuthenticate: (request: FastifyRequest) => Promise<SessionToken>
    /**
     * Makes the guard of routes that need a valid session token: `app.get('/x', { onRequest: app.requireClerkAuth() }, …)`.
     * It is a call, so that the app fails at startup if the plugin is not registered, instead of leaving the route open.
     * Conditions are checked against the token: `app.requireClerkAuth({ role: 'org:admin' })` refuses other tokens with 403
     * `FORBIDDEN` or `REVERIFICATION_REQUIRED`.
     */
    requireClerkAuth: GuardFactory
    /** Checks conditions that are only known from the request, after a guard. Rejects with the 403 of the first that is not met. */
    clerkCheckConditions: (request: FastifyRequest, conditions: Conditions) => Promise<void>
  }
  interface FastifyContextConfig {
    /** The request asks about another one, whose method is in `X-Forwarded-Method`. */
    isForwardAuth?: true
  }
  interface FastifyRequest {
    /** The verified token; null on routes without a guard. */
    clerkAuth: SessionToken | null
  }
}

interface DecodedJwt {
  header: JsonObject
  payload: JsonObject
  signature: string
}

// The tokens of the last minute's callers. Most have 1 KB, but custom claims can make them longer.
const MAX_VERIFIED_TOKENS = { tokens: 10_000, bytes: 16 * 1_048_576 }
const MALFORMED = 'its format, time or signature is wrong'

const OPTIONS = optionsOf<AuthOptions>({
  issuer: text("Clerk's Frontend API URL, such as https://clerk.example.com (CLERK_ISSUER)"),
  jwtKey: optional(text('a PEM public key')),
  authorizedParties: optional(texts('origins such as https://app.example.com')),
  trustedOrigins: optional(texts('origins such as https://app.example.com')),
  publishableKey: optional(text('pk_test_… or pk_live_…')),
  isAzpOptional: flag,
  allowsJwtTemplates: flag,
  jwks: optional(object),
})

/** Decorates the app with `requireClerkAuth()`, the guard of routes that need a valid session token. */
export default fp<AuthOptions>(
  async (app, options) => {
    checkOptions('clerkAuth', OPTIONS, options)
    if (!/^https?:/.test(options.issuer) || !URL.canParse(options.issuer)) {
      throw new TypeError("issuer: expected Clerk's Frontend API URL, such as https://clerk.example.com (CLERK_ISSUER)")
    }
    const issuer = options.issuer.replace(/\/+$/, '')
    const rules: TokenRules = {
      issuer,
      authorizedParties: toOrigins('authorizedParties', options.authorizedParties),
      isAzpOptional: options.isAzpOptional ?? false,
      allowsJwtTemplates: options.allowsJwtTemplates ?? false,
    }
    const trustedOrigins = new Set([...rules.authorizedParties, ...toOrigins('trustedOrigins', options.trustedOrigins)])
    const findCredentials = createCredentialFinder({
      issuer,
      allowsCookies: rules.authorizedParties.length > 0,
      publishableKey: options.publishableKey,
    })
    if (!app.hasPlugin('clerk-error-headers')) await app.register(errorHeaders)
    if (!app.hasPlugin('clerk-private-replies')) await app.register(privateReplies)

    const jwtKey = options.jwtKey && toRsaPem(options.jwtKey)
    const jwks = jwtKey ? undefined : createJwks({ ...options.jwks, issuer, log: app.log })
    const findKey = jwtKey ? (): KeyLookup => ({ state: 'found', pem: jwtKey }) : findInJwks
    function findInJwks(kid: string | undefined): KeyLookup | Promise<KeyLookup> {
      return kid === undefined ? { state: 'absent' } : (jwks as Jwks).find(kid)
    }
    app.addHook('onReady', async () => jwks?.start())
    app.addHook('onClose', async () => jwks?.close())

    // The checks that need no key come first, so that a token that fails them never causes a fetch of keys.
    async function pemOf(request: FastifyRequest, { header, payload, signature }: DecodedJwt): Promise<string> {
      // The last character has unused bits: without this check, a token could be spelled in several ways.
      if (Buffer.from(signature, 'base64url').toString('base64url') !== signature) throw new InvalidToken(MALFORMED)
      const nowSeconds = Date.now() / 1000
      const isCookie = request.clerkCredential?.isCookie === true
      const fault = headerFault(header, rules) ?? claimsFault(payload, rules, { isCookie, nowSeconds })
      if (fault) throw new InvalidToken(fault)
      const key = await findKey((header as TokenHeader).kid)
      if (key.state === 'found') return key.pem
      if (key.state === 'absent') throw new InvalidToken('the issuer has no such key')
      throw retryAfter(new JwksUnavailable(), key.retryAfterMs)
    }

    await app.register(fastifyJwt, {
      // A separate namespace, so that the app can use @fastify/jwt for other tokens.
      namespace: 'clerk',
      decoratorName: 'clerkJwt',
      secret: pemOf as never,
      decode: { complete: true },
      verify: {
        complete: true,
        algorithms: ['RS256'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS * 1000,
        requiredClaims: ['exp', 'iss', 'sub'],
        extractToken: (request: FastifyRequest) => request.clerkCredential?.token,
      } as FastifyJwtVerifyOptions['verify'] & object,
    })

    app.decorateRequest('clerkAuth', null)
    app.decorateRequest('clerkOrganization', null)
    app.decorateRequest('clerkCredential', null)
    app.decorate('clerkKeysStatus', () => jwks?.status())
    app.decorate('clerkFindKey', async (kid: string) => (await findKey(kid)).state)
    const accept = createNativeTokens({
      rules,
      findPem: (kid) => jwtKey ?? (kid === undefined ? undefined : jwks?.peek(kid)?.pem),
    })
    // A token is verified once: as long as its key is the same, only its expiry can change the result.
    const verifiedTokens = createVerifiedTokens(MAX_VERIFIED_TOKENS)
    function findVerified({ token, isCookie }: Credential): SessionToken | undefined {
      const verdict = verifiedTokens.find(token, Date.now())
      if (!verdict || (isCookie && verdict.token.claims.azp === undefined)) return undefined
      const key = findKey(verdict.kid)
      // Not a promise: the key is known without a fetch.
      return 'state' in key && key.state === 'found' && key.pem === verdict.pem ? verdict.token : undefined
    }

    async function authenticate(request: FastifyRequest): Promise<SessionToken> {
      let refusal: unknown
      for (const credential of findCredentials(request)) {
        request.clerkCredential = credential
        try {
          const token = findVerified(credential) ?? (await verify(request, credential))
          if (credential.isCookie && comesFromOtherSite(request)) throw new CrossSiteRequest()
          request.clerkAuth = token
          return token
        } catch (error) {
          // The next cookie is tried only if this one is bad, not if the service itself has a problem.
          if ((error as { statusCode?: number }).statusCode !== 401) throw error
          refusal ??= error
        }
      }
      throw refusal
    }
    function comesFromOtherSite(request: FastifyRequest): boolean {
      const { headers, host, routeOptions } = request
      const method = routeOptions.config.isForwardAuth ? askedMethod(request.method, headers) : request.method
      const fetchSite = headers['sec-fetch-site'] as string | undefined
      return isCrossSite({ method, host, origin: headers.origin, fetchSite }, trustedOrigins)
    }
    app.decorate('clerkAuthenticate', (request: FastifyRequest) =>
      tokenTracing.tracePromise(authenticate, {}, undefined, request),
    )

    /** Verifies a token that the fast path did not accept. @fastify/jwt decides whether it is refused, and why. */
    function verifyWithFastifyJwt(request: FastifyRequest, { token, isCookie }: Credential): Promise<DecodedJwt> {
      if (!isCookie && /[^\w.-]/.test(token)) throw new InvalidToken('it has characters that no token has')
      return request.clerkJwtVerify().catch((error: unknown) => {
        throw asRefusal(error)
      })
    }

    async function verify(request: FastifyRequest, credential: Credential): Promise<SessionToken> {
      const { token: text, isCookie } = credential
      const jwt = accept(text, isCookie, Date.now()) ?? (await verifyWithFastifyJwt(request, credential))
      const { kid } = jwt.header as TokenHeader
      const token = readSessionToken(jwt.header as TokenHeader, jwt.payload)
      const key = findKey(kid)
      if ('state' in key && key.state === 'found') {
        const validUntilMs = ((jwt.payload.exp as number) + CLOCK_TOLERANCE_SECONDS) * 1000
        verifiedTokens.keep(text, { token, kid, pem: key.pem, validUntilMs })
      }
      return token
    }
    app.decorate('clerkCheckConditions', async (request, conditions) => {
      assertConditions('clerkCheckConditions', conditions)
      await checkConditions(request, conditions)
    })
    decorateWithGuard(app, 'requireClerkAuth', async (request) => {
      const auth = await app.clerkAuthenticate(request)
      if (auth.isPending) throw new SessionPending()
    })
  },
  { name: 'clerk-auth', fastify: '5.x' },
)

declare module 'fastify' {
  interface FastifyRequest {
    clerkCredential: Credential | null
    clerkJwtVerify(): Promise<DecodedJwt>
  }
}

/** Throws at startup if a text is not an origin, because no request could ever match it. */
function toOrigins(option: string, texts: readonly string[] = []): string[] {
  return texts.map((text) => {
    const origin = normalizeOrigin(text)
    if (origin === undefined) throw new TypeError(`${option}: ${text} is not an origin such as https://app.example.com`)
    return origin
  })
}

/** Translates errors of @fastify/jwt and fast-jwt, some of which have no status code, to the 401 to answer with. */
function asRefusal(error: unknown): unknown {
  const code = (error as { code?: unknown }).code
  if (typeof code !== 'string' || !/^(FST|FAST)_JWT_/.test(code)) return error
  return code === 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED' ? new TokenExpired() : new InvalidToken(MALFORMED)
}

/** Throws at startup if the key is unusable, because every token would be refused. */
function toRsaPem(pem: string): string {
  const key = createPublicKey(pem)
  if (key.asymmetricKeyType !== 'rsa') throw new TypeError('jwtKey is not an RSA key')
  return key.export({ type: 'spki', format: 'pem' }).toString()
}

/**
 * Every error the service can answer with, declared once and thrown. Front ends rely on the codes: a 401 means that the
 * token or session is not valid, a 503 means that the service itself has a problem and the call may be repeated.
 */
import { STATUS_CODES } from 'node:http'
import createFastifyError from '@fastify/error'
import { Type } from '@sinclair/typebox'

class ServiceError extends Error {}

const createError = (code: string, message: string, statusCode: number) =>
  createFastifyError(code, message, statusCode, ServiceError as ErrorConstructor)

/** Whether an error is declared here, and does not come from the host application. */
export const isServiceError = (error: unknown) => error instanceof ServiceError

export const MissingToken = createError(
  'MISSING_TOKEN',
  'No session token was sent (Authorization: Bearer <token>)',
  401,
)
export const InvalidToken = createError('INVALID_TOKEN', 'The session token is not valid: %s', 401)
export const TokenExpired = createError('TOKEN_EXPIRED', 'The session token has expired, get a fresh one', 401)
export const SessionRevoked = createError('SESSION_REVOKED', 'The session is over, sign in again', 401)
export const UserNotSynced = createError(
  'USER_NOT_SYNCED',
  'The user is not in the database yet, call POST /api/auth/sync-user',
  401,
)

export const DashboardTokenInvalid = createError(
  'DASHBOARD_TOKEN_INVALID',
  'The dashboard needs its token (Authorization: Bearer <DASHBOARD_TOKEN>)',
  401,
)

export const ChangesTokenInvalid = createError(
  'CHANGES_TOKEN_INVALID',
  'The change feed needs its token (Authorization: Bearer <CHANGES_TOKEN>)',
  401,
)
export const InvalidCursor = createError(
  'INVALID_CURSOR',
  '`after` is not a cursor of this feed: send one that the feed returned, `latest`, or none',
  400,
)
export const CursorExpired = createError(
  'CURSOR_EXPIRED',
  'Changes after this cursor are no longer kept: start again without `after`, and compare your data with the tables',
  410,
)

export const UserDeleted = createError('USER_DELETED', 'The user has been deleted', 403)
export const UserBanned = createError('USER_BANNED', 'The user is banned', 403)
export const UserDeprovisioned = createError(
  'USER_DEPROVISIONED',
  'The user has been deprovisioned by their directory and may not sign in',
  403,
)
export const SessionPending = createError(
  'SESSION_PENDING',
  'The session has a pending task and is not active yet',
  403,
)

export const CrossSiteRequest = createError(
  'CROSS_SITE_REQUEST',
  'A page of another site sent this request with a cookie: send the token as Authorization: Bearer, or add its origin to CORS_ORIGINS',
  403,
)
export const MembershipEnded = createError(
  'MEMBERSHIP_ENDED',
  'The user is no longer a member of the active organization, or it was deleted: choose another one',
  403,
)
export const Forbidden = createError('FORBIDDEN', 'The user lacks %s', 403)
export const ReverificationRequired = createError(
  'REVERIFICATION_REQUIRED',
  'The user must verify again: this needs %s',
  403,
)
export const UnknownCondition = createError(
  'UNKNOWN_CONDITION',
  'The query parameter %s is not a known condition, or its value is not valid',
  400,
)

export const WebhookHeadersMissing = createError(
  'WEBHOOK_HEADERS_MISSING',
  'svix-id, svix-timestamp and svix-signature (or webhook-*) are required',
  400,
)
export const WebhookSignatureInvalid = createError(
  'WEBHOOK_SIGNATURE_INVALID',
  'The signature or its timestamp is not valid: is the signing secret that of this endpoint?',
  400,
)
export const WebhookPayloadInvalid = createError('WEBHOOK_PAYLOAD_INVALID', 'The event cannot be used: %s', 422)

export const RouteNotFound = createError('NOT_FOUND', 'No such route: %s %s', 404)

export const FailedEventNotFound = createError('FAILED_EVENT_NOT_FOUND', 'No failed event has this id', 404)

export const RateLimited = createError('RATE_LIMITED', 'Too many requests, try again in %s', 429)

export const JwksUnavailable = createError(
  'JWKS_UNAVAILABLE',
  "Clerk's signing keys cannot be fetched at the moment",
  503,
)
export const DatabaseUnavailable = createError(
  'DATABASE_UNAVAILABLE',
  'The database cannot be reached at the moment',
  503,
)
export const BodiesOverBudget = createError(
  'BODIES_OVER_BUDGET',
  'Too many request bodies are being received at the moment',
  503,
)
export const OnChangeFailed = createError(
  'ON_CHANGE_FAILED',
  "The application's onChange callback failed: nothing was written",
  503,
)
export const ShuttingDown = createError('SHUTTING_DOWN', 'The service is shutting down', 503)

/** An error that knows after how many seconds its caller may try again (RFC 9110, section 10.2.3). */
export interface Retryable {
  retryAfterSeconds?: number
}

/** An error for a request without credentials: its challenge has no error attributes (RFC 6750, section 3.1). */
export interface Unaccompanied {
  hasNoCredentials?: boolean
}

/** Marks the error of a request that sent no credentials. */
export function withoutCredentials<E extends Error>(error: E): E & Unaccompanied {
  return Object.assign(error, { hasNoCredentials: true })
}

/** Sets the time in ms after which the caller may try again. It is rounded up to whole seconds, at least one. */
export function retryAfter<E extends Error>(error: E, ms: number): E & Retryable {
  return Object.assign(error, { retryAfterSeconds: Math.max(1, Math.ceil(ms / 1000)) })
}

const DEFAULT_RETRY_AFTER_SECONDS = 1

/**
 * The headers that belong to an error: the challenge of a 401 (RFC 6750, section 3: attributes only when a token was
 * sent) and the `Retry-After` of a 503.
 */
export function errorHeaders(
  error: Partial<Error & Retryable & Unaccompanied> & { statusCode?: number; code?: string },
) {
  const headers: Record<string, string> = {}
  if (error.statusCode === 401) {
    headers['www-authenticate'] =
      error.code === 'MISSING_TOKEN' || error.hasNoCredentials
        ? 'Bearer'
        : `Bearer error="invalid_token", error_description="${quotable(error.message ?? '')}"`
  }
  if (error.statusCode === 503) headers['retry-after'] = String(error.retryAfterSeconds ?? DEFAULT_RETRY_AFTER_SECONDS)
  return headers
}

// RFC 6750 allows only these characters in error_description; any other could end the quoted string or the header.
const quotable = (text: string) => text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'")

interface Described {
  code: string
  message: string
}

// The errors of each status, for the OpenAPI description. Those without a class above are Fastify's.
const ERRORS = {
  400: [new WebhookHeadersMissing(), new WebhookSignatureInvalid()],
  401: [
    new MissingToken(),
    new InvalidToken('it has a wrong azp'),
    new TokenExpired(),
    new SessionRevoked(),
    new UserNotSynced(),
  ],
  403: [
    new UserDeleted(),
    new UserBanned(),
    new UserDeprovisioned(),
    new SessionPending(),
    new CrossSiteRequest(),
    new MembershipEnded(),
    new Forbidden('the role org:admin'),
    new ReverificationRequired('a factor of the last 10 minutes'),
  ],
  404: [new RouteNotFound('GET', '/nowhere')],
  413: [{ code: 'FST_ERR_CTP_BODY_TOO_LARGE', message: 'Request body is too large' }],
  415: [{ code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE', message: 'Unsupported Media Type' }],
  422: [new WebhookPayloadInvalid('the body is not JSON')],
  429: [new RateLimited('1 minute')],
  500: [{ code: 'INTERNAL_SERVER_ERROR', message: 'Something went wrong on our side' }],
  503: [
    new DatabaseUnavailable(),
    new JwksUnavailable(),
    new BodiesOverBudget(),
    new OnChangeFailed(),
    new ShuttingDown(),
  ],
} satisfies Record<number, Described[]>

const HEADERS: { [statusCode: number]: object } = {
  401: {
    'WWW-Authenticate': {
      type: 'string',
      description: 'Bearer, with error and error_description if a token was sent',
    },
  },
  503: { 'Retry-After': { type: 'string', description: 'Seconds' } },
}

/** All error replies have this shape; `stack` and `details` are sent in development only. */
function errorReply(statusCode: number, errors: Described[]) {
  const codes = errors.map(({ code }) => code).join(', ')
  const reason = STATUS_CODES[statusCode]
  const requestId = '0b3d7a5e-4c9f-4f0e-9a51-5b1f8e6d2c7a'
  return Type.Object(
    {
      statusCode: Type.Integer(),
      code: Type.String({ description: codes }),
      error: Type.String(),
      message: Type.String(),
      requestId: Type.String(),
      stack: Type.Optional(Type.String()),
      details: Type.Optional(Type.Unknown()),
    },
    {
      description: `${reason}: ${codes}`,
      headers: HEADERS[statusCode],
      'x-examples': Object.fromEntries(
        errors.map(({ code, message }) => [code, { value: { statusCode, code, error: reason, message, requestId } }]),
      ),
    },
  )
}

/** The reply schema of a single error; `args` fill the placeholders of its message. */
export function errorReplyOf(
  ErrorClass: new (...args: string[]) => Error & { statusCode?: number; code: string },
  ...args: string[]
) {
  const error = new ErrorClass(...args)
  return errorReply(error.statusCode as number, [error])
}

/** The reply schemas of these statuses, and of 500, which any route may answer with. */
export function errorReplySchemas(...statusCodes: (keyof typeof ERRORS)[]) {
  return Object.fromEntries(
    [...statusCodes, 500 as const].map((statusCode) => [statusCode, errorReply(statusCode, ERRORS[statusCode])]),
  )
}

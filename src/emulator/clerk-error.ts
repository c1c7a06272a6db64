/**
 * The error replies of Clerk's Backend API: `{errors: [{message, long_message, code, meta?}], clerk_trace_id}`.
 *
 * Source: https://clerk.com/docs/guides/development/errors/backend-api and
 * https://clerk.com/docs/guides/development/errors/rate-limits.
 */
import { randomBytes } from 'node:crypto'

export interface ClerkErrorItem {
  message: string
  long_message: string
  code: string
  meta?: Record<string, unknown>
}

export interface ClerkErrorBody {
  errors: ClerkErrorItem[]
  clerk_trace_id: string
}

/** Thrown by every operation that Clerk would refuse; over HTTP it becomes Clerk's error reply. */
export class ClerkError extends Error {
  readonly statusCode: number
  readonly item: ClerkErrorItem
  readonly retryAfterSeconds: number | undefined

  constructor(statusCode: number, item: ClerkErrorItem, retryAfterSeconds?: number) {
    super(`${item.code}: ${item.long_message}`)
    this.name = 'ClerkError'
    this.statusCode = statusCode
    this.item = item
    this.retryAfterSeconds = retryAfterSeconds
  }

  /** The reply's body, with a fresh trace id. */
  toBody(): ClerkErrorBody {
    return { errors: [this.item], clerk_trace_id: randomBytes(16).toString('hex') }
  }
}

const NOT_FOUND_MESSAGES = {
  user: 'not found',
  session: 'Session not found',
  organization: 'Organization not found',
  'organization membership': 'Organization membership not found',
  'organization role': 'Organization role not found',
  'organization invitation': 'Organization invitation not found',
}

export const notFound = (what: keyof typeof NOT_FOUND_MESSAGES, id: string) =>
  new ClerkError(404, {
    message: NOT_FOUND_MESSAGES[what],
    long_message: `No ${what} was found with id ${id}`,
    code: 'resource_not_found',
  })

export const alreadyMember = () =>
  new ClerkError(400, {
    message: 'Already a member',
    long_message: 'The user is already a member of the organization',
    code: 'already_a_member_in_organization',
  })

export const urlNotFound = () =>
  new ClerkError(404, {
    message: 'URL not found',
    long_message: 'The URL was not found',
    code: 'resource_not_found',
  })

export const authorizationHeaderInvalid = () =>
  new ClerkError(401, {
    message: 'Invalid Authorization header format',
    long_message: "Invalid Authorization header format. Must be 'Bearer <YOUR_API_KEY>'",
    code: 'authorization_header_format_invalid',
  })

const SECRET_KEY_INVALID = 'The provided Clerk Secret Key is invalid. Make sure that your Clerk Secret Key is correct.'

export const secretKeyInvalid = () =>
  new ClerkError(401, { message: SECRET_KEY_INVALID, long_message: SECRET_KEY_INVALID, code: 'clerk_key_invalid' })

export const requestMalformed = (statusCode = 400) =>
  new ClerkError(statusCode, {
    message: 'Malformed request parameters',
    long_message: 'The request parameters are malformed and could not be parsed',
    code: 'malformed_request_parameters',
  })

export const parameterInvalid = (name: string, value: unknown) =>
  formError(name, {
    message: 'is invalid',
    long_message: `${value} does not match one of the allowed values for parameter ${name}`,
    code: 'form_param_value_invalid',
  })

export const parameterTypeInvalid = (name: string, type: string) =>
  formError(name, {
    message: 'is invalid',
    long_message: `\`${name}\` must be a \`${type}\`.`,
    code: 'form_param_type_invalid',
  })

export const parameterTimeInvalid = (name: string) =>
  formError(name, {
    message: 'invalid format',
    long_message: `${name} must contain a datetime specified in RFC3339 format (e.g. \`2022-10-20T10:00:27.645Z\`).`,
    code: 'form_param_invalid_time',
  })

export const parameterMissing = (name: string) =>
  formError(name, { message: 'is missing', long_message: `${name} must be included.`, code: 'form_param_missing' })

export const parameterUnknown = (name: string) =>
  formError(name, {
    message: 'is unknown',
    long_message: `${name} is not a valid parameter for this request.`,
    code: 'form_param_unknown',
  })

/** For two parameters that cannot be combined. */
export const parameterNotAllowed = (name: string, besides: string) =>
  formError(name, {
    message: 'is not allowed',
    long_message: `\`${name}\` isn't allowed when \`${besides}\` is present.`,
    code: 'form_conditional_param_disallowed',
  })

/** For a parameter that names a missing resource. */
export const parameterResourceNotFound = (name: string) =>
  formError(name, {
    message: 'is missing',
    long_message: `The resource associated with the supplied ${name} was not found.`,
    code: 'form_resource_not_found',
  })

const IDENTIFIER_EXISTS = {
  email_address: 'That email address is taken. Please try another.',
  phone_number: 'That phone number is taken. Please try another.',
  username: 'That username is taken. Please try another.',
}

/** Clerk keeps email addresses, phone numbers and usernames unique in an instance. */
export const identifierExists = (name: keyof typeof IDENTIFIER_EXISTS) =>
  formError(name, {
    message: IDENTIFIER_EXISTS[name],
    long_message: IDENTIFIER_EXISTS[name],
    code: 'form_identifier_exists',
  })

export const userBanned = () =>
  new ClerkError(403, {
    message: 'User banned',
    long_message: 'You have been banned. If you think this was by mistake, please contact support.',
    code: 'user_banned',
  })

/** Not an error of Clerk: the emulator serves only the local machine. */
export const notForThisRequest = (trait: string) =>
  new ClerkError(403, {
    message: 'Forbidden',
    long_message: `The emulator answers only this machine and its own pages: ${trait}.`,
    code: 'emulator_not_for_this_request',
  })

/** Not an error of Clerk: a caller of the emulator must not choose where it sends requests. */
export const foreignEndpoint = () =>
  formError('url', {
    message: 'is invalid',
    long_message: 'The emulator sends webhooks only to the service that it was started for.',
    code: 'emulator_foreign_endpoint',
  })

export const tooManyRequests = (retryAfterSeconds: number) =>
  new ClerkError(
    429,
    { message: 'Too many requests', long_message: 'Too many requests, retry later', code: 'too_many_requests' },
    retryAfterSeconds,
  )

export const internalError = () =>
  new ClerkError(500, {
    message: 'Oops, an unexpected error occurred',
    long_message: "There was an internal error on our servers. We've been notified and are working on fixing it.",
    code: 'internal_clerk_error',
  })

function formError(name: string, item: Omit<ClerkErrorItem, 'meta'>): ClerkError {
  return new ClerkError(422, { ...item, meta: { param_name: name } })
}

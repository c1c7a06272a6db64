import { parameterTimeInvalid, parameterTypeInvalid, parameterUnknown, requestMalformed } from '../clerk-error.ts'
import type { Metadata, User, UserAttributes, UserPatch } from '../schemas.ts'
import { isRecord, mergeMetadata } from '../user-json.ts'

type Reader = (name: string, value: unknown) => UserAttributes

const METADATA: Record<string, Reader> = {
  public_metadata: (name, value) => ({ publicMetadata: metadata(name, value) }),
  private_metadata: (name, value) => ({ privateMetadata: metadata(name, value) }),
  unsafe_metadata: (name, value) => ({ unsafeMetadata: metadata(name, value) }),
}

const UPDATE: Record<string, Reader> = {
  ...METADATA,
  username: (name, value) => ({ username: text(name, value) }),
  first_name: (name, value) => ({ firstName: text(name, value) }),
  last_name: (name, value) => ({ lastName: text(name, value) }),
  external_id: (name, value) => ({ externalId: text(name, value) }),
  // The emulator ignores passwords.
  password: () => ({}),
  skip_password_checks: () => ({}),
  skip_legal_checks: () => ({}),
}

const CREATE: Record<string, Reader> = {
  ...UPDATE,
  email_address: (name, value) => {
    const [email, ...otherEmails] = list(name, value)
    return { email, otherEmails }
  },
  email_address_identification_status: (name, value) => ({ emailVerified: list(name, value)[0] !== 'reserved' }),
  phone_number: (name, value) => ({ phone: list(name, value)[0] }),
  created_at: (name, value) => ({ createdAt: time(name, value) }),
  skip_password_requirement: () => ({}),
}

/**
 * The attributes in the body of `POST /v1/users`, for the parameters of Clerk that the emulator supports.
 *
 * @throws ClerkError 400 for a body that is not an object, 422 for a parameter that is unknown or has the wrong type
 */
export const readCreateParameters = (body: unknown): UserAttributes => read(CREATE, body)

/** The same for `PATCH /v1/users/{id}`. */
export const readUpdateParameters = (body: unknown): UserAttributes => read(UPDATE, body)

/** The same for `PUT /v1/users/{id}/metadata`. */
export const readMetadata = (body: unknown): UserAttributes => read(METADATA, body)

/** The patch for this user in the body of `PATCH /v1/users/{id}/metadata`. */
export function readMetadataMerge(body: unknown, user: User): UserPatch {
  const { publicMetadata, privateMetadata, unsafeMetadata } = readMetadata(body)
  return {
    ...(publicMetadata && { publicMetadata: mergeMetadata(user.public_metadata, publicMetadata) }),
    ...(privateMetadata && { privateMetadata: mergeMetadata(user.private_metadata, privateMetadata) }),
    ...(unsafeMetadata && { unsafeMetadata: mergeMetadata(user.unsafe_metadata, unsafeMetadata) }),
  }
}

function read(readers: Record<string, Reader>, body: unknown): UserAttributes {
  const parameters = body ?? {}
  if (!isRecord(parameters)) throw requestMalformed()
  const attributes: UserAttributes = {}
  for (const [name, value] of Object.entries(parameters)) {
    const reader = Object.hasOwn(readers, name) ? readers[name] : undefined
    if (!reader) throw parameterUnknown(name)
    Object.assign(attributes, reader(name, value))
  }
  return attributes
}

function list(name: string, value: unknown): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
  throw parameterTypeInvalid(name, 'array of strings')
}

function text(name: string, value: unknown): string | null {
  if (value === null || typeof value === 'string') return value
  throw parameterTypeInvalid(name, 'string')
}

function metadata(name: string, value: unknown): Metadata {
  if (value === null || isRecord(value)) return value
  throw parameterTypeInvalid(name, 'object')
}

function time(name: string, value: unknown): number {
  const atMs = typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (Number.isNaN(atMs)) throw parameterTimeInvalid(name)
  return atMs
}

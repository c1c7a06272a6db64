export { type ClerkEmulator, type ClerkEmulatorOptions, createClerkEmulator } from './clerk-emulator.ts'
export { ClerkError } from './clerk-error.ts'
export type { Fault, Faults } from './faults.ts'
export type { RateLimit } from './rate-limit.ts'
export type {
  Attempt,
  DeletedUser,
  Delivery,
  DeliveryState,
  Session,
  SessionStatus,
  User,
  UserAttributes,
  UserPatch,
} from './schemas.ts'
export type { SessionClaims, TokenOverrides } from './session-token.ts'
export type { SvixHeaders } from './svix-signature.ts'
export type { SendOptions, Webhooks } from './webhooks.ts'

import type { Faults } from '../faults.ts'
import type { ClerkInstance } from '../instance.ts'
import type { DeletedCursor } from '../list-users.ts'
import type { EnvironmentType } from '../rate-limit.ts'
import type { SigningKeys } from '../signing-keys.ts'
import type { Stats } from '../stats.ts'
import type { Webhooks } from '../webhooks.ts'

/** What the routes need. */
export interface EmulatorContext {
  instance: ClerkInstance
  keys: SigningKeys
  webhooks: Webhooks
  stats: Stats
  faults: Faults
  secretKey: string
  deletedCursor: DeletedCursor
  instanceId: string
  environmentType: EnvironmentType
  /** Further origins whose pages may call. */
  allowedOrigins: readonly string[]
  publishableKey: () => string
  issuer: () => string
  /** Unix ms. */
  now: () => number
}

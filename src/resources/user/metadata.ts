import type { Change } from '../../domain/change.ts'

/** Private and unsafe metadata of users, which are stored only if configured. */
export type SyncedMetadata = 'unsafe' | 'private'

/** The change without the metadata that are not configured. */
export function withMetadata(change: Change, kept: readonly SyncedMetadata[]): Change {
  const { user } = change
  if (user?.kind !== 'snapshot' || kept.length === 2) return change
  if (user.unsafeMetadata === null && user.privateMetadata === null) return change
  const unsafeMetadata = kept.includes('unsafe') ? user.unsafeMetadata : null
  const privateMetadata = kept.includes('private') ? user.privateMetadata : null
  return { ...change, user: { ...user, unsafeMetadata, privateMetadata } }
}

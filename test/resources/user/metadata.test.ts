import { test } from 'tap'
import { EMPTY_PROFILE, EMPTY_STATE, type UserSnapshot } from '../../../src/resources/user/change.ts'
import { type SyncedMetadata, withMetadata } from '../../../src/resources/user/metadata.ts'

test('private and unsafe metadata are kept only if configured', (t) => {
  const user: UserSnapshot = {
    ...EMPTY_STATE,
    kind: 'snapshot',
    id: 'user_1',
    source: 'webhook',
    version: { updatedAt: 1, eventAt: 1 },
    profile: EMPTY_PROFILE,
    clerkCreatedAt: null,
    unsafeMetadata: { a: 1 },
    privateMetadata: { b: 2 },
  }
  const kept = (...names: SyncedMetadata[]) => withMetadata({ user }, names).user
  t.strictSame(kept(), { ...user, unsafeMetadata: null, privateMetadata: null })
  t.strictSame(kept('unsafe'), { ...user, privateMetadata: null })
  t.strictSame(kept('private'), { ...user, unsafeMetadata: null })
  t.strictSame(kept('unsafe', 'private'), user)
  t.end()
})

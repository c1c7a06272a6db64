import { createClerkClient } from '@clerk/backend'
import type { Test } from 'tap'
import { type ClerkEmulatorOptions, createClerkEmulator } from '../../src/emulator/index.ts'

/** An emulator that is closed with the test. */
export async function startClerk(t: Test, options?: ClerkEmulatorOptions) {
  const clerk = await createClerkEmulator(options)
  t.teardown(() => clerk.close())
  return clerk
}

/** The real Backend API client, pointed at the emulator. */
export function clientOf(clerk: { secretKey: string; apiUrl: string; publishableKey: string }) {
  const { secretKey, apiUrl, publishableKey } = clerk
  return createClerkClient({ secretKey, apiUrl, publishableKey, telemetry: { disabled: true } })
}

/** A clock that stands still until it is set. */
export function manualClock(startMs: number) {
  const clock = { nowMs: startMs, now: () => clock.nowMs }
  return clock
}

/** A pattern for `t.throws` and `t.rejects`, whose types know only the fields that every error has. */
export const errorLike = (fields: object) => fields as Error

import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** A temporary folder with this mode, removed after the test. */
export function folder(t: Test, mode: number): string {
  const path = mkdtempSync(join(tmpdir(), 'clerk-session-sync-test-'))
  chmodSync(path, mode)
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

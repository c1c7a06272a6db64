import { test } from 'tap'
import { createAuthResults } from '../../../src/plugins/dashboard/auth-results.ts'

const MINUTE = 60_000
const T0 = Date.UTC(2026, 0, 2, 3, 0)

test('totals become the increase of each time span', async (t) => {
  const results = createAuthResults()
  results.record({ OK: 5, INVALID_TOKEN: 0 }, T0 + 10)
  results.record({ OK: 7, INVALID_TOKEN: 1 }, T0 + 20_000)
  results.record({ OK: 7, INVALID_TOKEN: 1 }, T0 + MINUTE)
  results.record({ OK: 8, INVALID_TOKEN: 1 }, T0 + 5 * MINUTE)
  t.strictSame(results.since([T0, T0 + MINUTE, T0 + 5 * MINUTE], MINUTE), [{ OK: 7, INVALID_TOKEN: 1 }, {}, { OK: 1 }])
  t.strictSame(results.since([T0, T0 + 5 * MINUTE], 5 * MINUTE), [{ OK: 7, INVALID_TOKEN: 1 }, { OK: 1 }])
})

test('a day is kept, and no more', async (t) => {
  const results = createAuthResults()
  results.record({ OK: 1 }, T0)
  results.record({ OK: 2 }, T0 + 24 * 60 * MINUTE - 1)
  t.strictSame(results.since([T0], MINUTE), [{ OK: 1 }])
  results.record({ OK: 2 }, T0 + 24 * 60 * MINUTE)
  t.strictSame(results.since([T0], MINUTE), [{}])
})

import { test } from 'tap'
import { Stats } from '../../src/emulator/stats.ts'

test('counting stays exact over many requests', (t) => {
  const stats = new Stats({ requests: 100, windowMs: 1_000 })
  let refused = 0
  // 30 s at 1,000 requests a second.
  for (let atMs = 0; atMs < 30_000; atMs++) if (stats.countApiRequest('GET /', atMs) !== undefined) refused++
  t.equal(stats.apiRequests, 30_000)
  t.equal(stats.maxRequestsInWindow, 1_000)
  t.equal(30_000 - refused, 3_000, '100 a second are granted')
  t.equal(stats.rateLimited, refused)
  for (let index = 0; index < 1_500; index++) stats.countApiRequest('GET /', 60_000)
  t.equal(stats.maxRequestsInWindow, 1_500)
  t.end()
})

import { test } from 'tap'
import { createRequestLimit } from '../../src/clerk/request-limit.ts'

test('a pause longer than the longest timer is waited for without a busy loop', async (t) => {
  const warnings: string[] = []
  const onWarning = ({ name }: Error) => warnings.push(name)
  process.on('warning', onWarning)
  t.teardown(() => process.removeListener('warning', onWarning))
  const limit = createRequestLimit({ requests: 1, windowMs: 1_000 })
  limit.pause(2 ** 32)
  const stop = new AbortController()
  const waiting = limit.run(async () => t.fail('it was sent'), stop.signal)
  setTimeout(() => stop.abort(), 20)
  await t.rejects(waiting, { name: 'AbortError' })
  t.strictSame(warnings, [], 'no timer overflowed')
})

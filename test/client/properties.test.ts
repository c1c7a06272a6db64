import fc from 'fast-check'
import { test } from 'tap'
import { BASE, CODES, hostile, type Step } from './hostile.ts'

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: fc.constant<Step>('network') },
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom(...CODES), fc.constantFrom(undefined, '0', '1', '3600', 'soon', '-5'))
      .map(([[status, code], retryAfter]): Step => ({ status, code, retryAfter })),
  },
)
// Goes round and round, so that a client that loops would never end.
function* forever(steps: Step[]): Generator<Step> {
  for (;;) yield* steps
}
const OWN = 6
const SYNC = 5

function silence(t: { teardown(work: () => void): void }): void {
  const { error } = console
  console.error = () => {}
  t.teardown(() => {
    console.error = error
  })
}

test('no order of answers makes a call send more than 6 requests and one sync of 5', async (t) => {
  silence(t)
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      const { api, sent, over, waits } = hostile(forever(steps))
      await api.fetch('/orders').catch(() => {})
      const syncs = sent.filter(({ url }) => url.endsWith('/sync-user')).length
      return (
        sent.length - syncs <= OWN && syncs <= SYNC && over.length <= 1 && waits.every((ms) => ms >= 0 && ms <= 30_000)
      )
    }),
    { numRuns: 2_000 },
  )
})

test('an app that calls without end is stopped, signed out once, and shares its syncs', async (t) => {
  silence(t)
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 30 }),
      async (steps, calls) => {
        const { api, sent, over } = hostile(forever(steps))
        for (let call = 0; call < calls; call++) {
          await Promise.allSettled([
            api.fetch('/a'),
            api.syncUser(),
            api.fetch(`${BASE}/b`, { method: 'POST', body: 'x' }),
          ])
        }
        const isAlwaysOurs = sent.every(({ url, token }) => url.startsWith(`${BASE}/`) && token?.startsWith('Bearer '))
        return over.length <= 1 && isAlwaysOurs && sent.length <= calls * (OWN + OWN + SYNC * 3)
      },
    ),
    { numRuns: 300 },
  )
})

test('a server that refuses every token gets no more than ten calls’ worth, however often the app calls', async (t) => {
  silence(t)
  const refusals = CODES.filter(([status, code]) => status === 401 && code !== 'SESSION_REVOKED' && code !== 'APP')
  const refusal = fc.constantFrom(...refusals).map(([status, code]): Step => ({ status, code }))
  await fc.assert(
    fc.asyncProperty(fc.array(refusal, { minLength: 1, maxLength: 6 }), async (steps) => {
      const { api, sent } = hostile(forever(steps))
      for (let call = 0; call < 200; call++) await api.fetch('/a').catch(() => {})
      return sent.length <= 10 * (2 + 1 + 2)
    }),
    { numRuns: 200 },
  )
})

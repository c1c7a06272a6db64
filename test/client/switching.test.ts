/** Accounts and organizations that change at any moment, in front of a server that answers anything. */
import fc from 'fast-check'
import { test } from 'tap'
import { answer, CODES, claimsOf, hostile, refusal, type Step, tokenOf } from './hostile.ts'

const WHO = [
  { sub: 'user_a', sid: 'sess_a', org: undefined },
  { sub: 'user_a', sid: 'sess_a', org: 'org_1' },
  { sub: 'user_a', sid: 'sess_a', org: 'org_2' },
  { sub: 'user_a', sid: 'sess_a2', org: undefined },
  { sub: 'user_b', sid: 'sess_b', org: undefined },
  { sub: 'user_b', sid: 'sess_b', org: 'org_1' },
  // Some tokens name no session.
  { sub: 'user_a', sid: undefined, org: undefined },
  { sub: 'user_b', sid: undefined, org: undefined },
] as const
type Who = (typeof WHO)[number] | undefined

const nameOf = (who: Who) => (who ? `${who.sub} ${who.sid} ${who.org}` : 'nobody')

const step: fc.Arbitrary<Step | 'endless'> = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom<Step | 'endless'>('network', 'silence', 'endless') },
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.constantFrom(...CODES), fc.constantFrom(undefined, '0', '1', '3600'))
      .map(([[status, code], retryAfter]): Step => ({ status, code, retryAfter })),
  },
)
/** What happens at one moment: who is active from now on, and how many turns pass before the client goes on. */
const moment = fc.record({
  who: fc.oneof({ weight: 4, arbitrary: fc.constant('same' as const) }, fc.constantFrom<Who>(...WHO, undefined)),
  turns: fc.integer({ min: 0, max: 2 }),
})
const callKind = fc.constantFrom('POST', 'GET', 'DELETE', 'sync', 'profile')

/** An error whose body never ends. */
function endless(): Response {
  const start = JSON.stringify(refusal(401, 'TOKEN_EXPIRED')).slice(0, 20)
  const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode(start)) })
  return new Response(body, { status: 401, headers: { 'content-type': 'application/json' } })
}

function* forever<T>(items: readonly T[]): Generator<T> {
  for (;;) yield* items
}

/** Of one call itself; and of the sync that it may share. */
const MOST = 6
const MOST_OF_SYNC = 5
/** Turns of the event loop after which nothing can still be on its way. */
const PATIENCE = 5_000

test('whoever becomes active at whatever moment, no body goes out with the token of another, and every call ends', async (t) => {
  const { error } = console
  console.error = () => {}
  t.teardown(() => {
    console.error = error
  })
  const seen = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 10 }),
      fc.array(moment, { minLength: 1, maxLength: 20 }),
      fc.array(callKind, { minLength: 1, maxLength: 5 }),
      async (steps, moments, kinds) => {
        const answers = forever(steps)
        const life = forever(moments)
        let who: Who = WHO[0]
        let wrong: string | undefined
        const sends = new Map<string, number>()
        const syncs = new Map<string, number>()
        const told = new Map<string, string[]>()

        async function pass(): Promise<void> {
          const { who: next, turns } = life.next().value as { who: Who | 'same'; turns: number }
          if (next !== 'same') who = next
          for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate)
        }
        const { api, over } = hostile([], {
          getToken: (options) => {
            const token = who && tokenOf(who.sid, options?.skipCache ? 1 : 0, who.sub, who.org)
            return pass().then(() => token)
          },
          fetch: (async (input: string, init: RequestInit) => {
            const { sub, sid, o } = claimsOf(new Headers(init.headers).get('authorization'))
            const sender = `${sub} ${sid} ${o?.id}`
            if (init.body) {
              const [owner, call] = String(init.body).split(' | ') as [string, string]
              if (owner !== sender) wrong = `a body of ${owner} was sent by ${sender}`
              const count = (sends.get(call) ?? 0) + 1
              sends.set(call, count)
              if (count > MOST) {
                wrong = `a call was sent ${count} times`
                return new Promise(() => {})
              }
            } else if (input.endsWith('/sync-user')) syncs.set(`${sub} ${sid}`, (syncs.get(`${sub} ${sid}`) ?? 0) + 1)
            await pass()
            const next = answers.next().value as Step | 'endless'
            if (next === 'endless') return endless()
            const code = typeof next === 'string' ? next : `${next.code}`
            told.set(`${sub} ${sid}`, [...(told.get(`${sub} ${sid}`) ?? []), code])
            return code === 'OK' ? Response.json({ user: { id: sub } }) : answer(next, init.signal)
          }) as unknown as typeof fetch,
        })

        let pending = 0
        for (const [i, kind] of kinds.entries()) {
          // A call that begins with nobody belongs to whoever was there last; the first one begins with somebody.
          who ??= WHO[0]
          const { sub, sid } = who
          const body = `${nameOf(who)} | ${i}`
          pending += 1
          const work =
            kind === 'sync'
              ? api.syncUser()
              : kind === 'profile'
                ? api.profile()
                : api.fetch('/orders', { method: kind, ...(kind !== 'GET' && { body }) })
          work
            .then(
              (result) => {
                const id = 'user' in result ? result.user.id : 'id' in result ? result.id : sub
                if (id !== sub) wrong = `${sub} was answered with the row of ${id}`
                return 'answered'
              },
              ({ code, status, name }: { code?: string; status?: number; name: string }) => {
                const codes = told.get(`${sub} ${sid}`) ?? []
                const isToldElsewhere = status !== 0 && status !== undefined && !codes.includes(`${code}`)
                if (isToldElsewhere && code !== 'UNKNOWN') wrong = `${sub} ${sid} was refused with ${code} by hearsay`
                const refusals = codes.filter((code) => /TOKEN|NOT_SYNCED/.test(code)).length
                if (code === 'LOOP_BROKEN' && refusals < 5)
                  wrong = `the breaker of ${sub} ${sid} opened after ${refusals}`
                return code ?? name
              },
            )
            .then((end) => seen.set(end, (seen.get(end) ?? 0) + 1))
            .finally(() => {
              pending -= 1
            })
          await pass()
        }
        for (let turn = 0; pending > 0 && !wrong && turn < PATIENCE; turn += 1) await new Promise(setImmediate)
        if (wrong) throw new Error(wrong)
        if (pending > 0) throw new Error(`${pending} calls are pending for ever`)
        // Each call may cause one sync of its session, and each explicit sync is one.
        for (const [session, count] of syncs) {
          if (count > MOST_OF_SYNC * kinds.length) throw new Error(`${count} syncs of ${session}`)
        }
        const sessions = over.map(({ userId, sessionId }) => `${userId} ${sessionId}`)
        if (new Set(sessions).size !== sessions.length) throw new Error('a session was signed out twice')
      },
    ),
    { numRuns: 1_500, endOnFailure: false },
  )
  for (const end of ['answered', 'SESSION_CHANGED', 'TIMEOUT', 'SIGNED_OUT', 'SESSION_REVOKED']) {
    t.ok((seen.get(end) ?? 0) > 10, `calls ended by ${end}`)
  }
})

/** Two accounts in one page: what one began never goes out in the name of the other. */
import { test } from 'tap'
import { createSessionSync } from '../../packages/client/src/index.ts'
import { answer, BASE, claimsOf, hostile, type Step, tokenOf, virtualClock } from './hostile.ts'

const OK: Step = { status: 200 }
const EXPIRED: Step = { status: 401, code: 'TOKEN_EXPIRED' }
const INVALID: Step = { status: 401, code: 'INVALID_TOKEN' }
const REVOKED: Step = { status: 401, code: 'SESSION_REVOKED' }
const DOWN: Step = { status: 503, code: 'DATABASE_UNAVAILABLE', retryAfter: '1' }

const A = { sid: 'sess_a', sub: 'user_a', org: undefined as string | undefined }
const B = { sid: 'sess_b', sub: 'user_b', org: undefined as string | undefined }

/** The client in a page where the account can be switched, and a server whose every answer is held until it is given. */
function page(steps: Step[] = []) {
  const state = { who: A }
  const held: { token: string | null; body: unknown; give(step: Step): void }[] = []
  const { api, ...rest } = hostile([], {
    getToken: () => tokenOf(state.who.sid, 0, state.who.sub, state.who.org),
    fetch: ((_input: string, init: RequestInit) =>
      new Promise((resolve, reject) => {
        const give = (step: Step) => answer(step, init.signal).then(resolve, reject)
        held.push({ token: new Headers(init.headers).get('authorization'), body: init.body, give })
        const next = steps.shift()
        if (next) give(next)
      })) as typeof fetch,
  })
  // Sooner than the clock jumps to a deadline.
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  return { api, ...rest, state, held, settle, subs: () => held.map(({ token }) => claimsOf(token).sub) }
}

for (const method of ['POST', 'DELETE', 'GET']) {
  test(`${method}: a call that waits is not sent again as somebody else`, async (t) => {
    for (const [what, next] of [
      ['another account', B],
      ['another organization', { ...A, org: 'org_2' }],
      ['another session of the same user', { ...A, sid: 'sess_a2' }],
    ] as const) {
      for (const step of [DOWN, EXPIRED, { status: 401, code: 'USER_NOT_SYNCED' }]) {
        const { api, state, held, subs } = page()
        const call = api.fetch('/orders', { method, body: method === 'GET' ? undefined : 'of A' })
        await new Promise(setImmediate)
        state.who = next
        held[0]?.give(step)
        held.push = (...items) => {
          // The sync that A's own token may still ask for.
          for (const { give } of items) give(OK)
          return Array.prototype.push.apply(held, items)
        }
        await t.rejects(call, { status: 0, code: 'SESSION_CHANGED' }, `${what}, ${JSON.stringify(step)}`)
        t.ok(
          subs().every((sub) => sub === 'user_a'),
          'nothing was sent in the other’s name',
        )
        t.equal(held.filter(({ body }) => body === 'of A').length, method === 'GET' ? 0 : 1)
      }
    }
  })
}

test('a sync under way for one account does not answer for the other', async (t) => {
  const { api, state, held, settle, subs } = page()
  const ofA = api.syncUser()
  await settle()
  state.who = B
  const ofB = api.syncUser()
  await settle()
  t.strictSame(subs(), ['user_a', 'user_b'])
  held[1]?.give(OK)
  t.match(await ofB, { user: { id: 'user_1' } }, 'without waiting for the first')
  held[0]?.give(OK)
  await ofA
})

test('what one account’s refusals caused holds for that account alone', async (t) => {
  const { error } = console
  console.error = () => {}
  t.teardown(() => {
    console.error = error
  })
  const { api, state, held, settle } = page(Array(10).fill(INVALID))
  for (let call = 0; call < 5; call++) await api.fetch('/a')
  await t.rejects(api.fetch('/a'), { code: 'LOOP_BROKEN' })
  state.who = B
  const answered = api.fetch('/a')
  await settle()
  held.at(-1)?.give(OK)
  t.equal((await answered).status, 200)
})

test('tokens without a sid, or that cannot be read, share nothing', async (t) => {
  const { atob } = globalThis
  t.teardown(() => {
    globalThis.atob = atob
  })
  for (const isMissing of [false, true]) {
    if (isMissing) Reflect.set(globalThis, 'atob', undefined)
    let sub = 'user_a'
    const banned: Step = { status: 403, code: 'USER_BANNED' }
    const { api, sent, over } = hostile([banned, OK], { getToken: () => tokenOf(undefined, 0, sub) })
    await api.fetch('/a')
    await t.rejects(api.fetch('/a'), { code: 'USER_BANNED' })
    sub = 'user_b'
    t.equal((await api.fetch('/a')).status, 200)
    t.equal(sent.length, 2)
    t.match(over, [{ reason: 'USER_BANNED', sessionId: undefined }])
  }
})

test('a late refusal says whose session is over', async (t) => {
  const { api, state, held, settle, over } = page()
  const late = api.fetch('/a')
  await settle()
  state.who = B
  held[0]?.give(REVOKED)
  t.equal((await late).status, 401)
  t.strictSame(over, [{ reason: 'SESSION_REVOKED', sessionId: 'sess_a', userId: 'user_a' }])
})

test('both versions of Clerk’s claims name the organization', async (t) => {
  const token = (claims: object) => `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.y`
  const session = { sub: 'user_1', sid: 'sess_1' }
  for (const [first, next] of [
    [
      { ...session, org_id: 'org_1' },
      { ...session, o: { id: 'org_1' } },
    ],
    [session, { ...session, org_id: 'org_1' }],
  ] as const) {
    const tokens = [token(first), token(next)]
    const { api } = hostile([EXPIRED, OK], { getToken: () => tokens.shift() })
    if ('org_id' in first) t.equal((await api.fetch('/a')).status, 200, 'the same')
    else await t.rejects(api.fetch('/a'), { code: 'SESSION_CHANGED' })
  }
})

test('tokens that name nobody share nothing', async (t) => {
  const tokens = ['x.e30.1', 'x.e30.2']
  const { api, sent } = hostile([REVOKED, OK], { getToken: () => tokens.shift() })
  await api.fetch('/a')
  t.equal((await api.fetch('/a')).status, 200)
  t.equal(sent.length, 2)
})

test('who signs in while a call waits for Clerk did not begin it', async (t) => {
  let token: string | null = tokenOf('sess_a', 0, 'user_a')
  const { api, sent } = hostile([OK, OK, OK], { getToken: () => token })
  await api.fetch('/a')
  token = null
  const waiting = api.fetch('/a', { method: 'POST', body: 'of A' })
  await new Promise(setImmediate)
  token = tokenOf('sess_b', 0, 'user_b')
  await t.rejects(waiting, { code: 'SESSION_CHANGED' })
  t.equal(sent.length, 1)
})

test('what is remembered of sessions is bounded', async (t) => {
  const { seams } = virtualClock()
  let who = 0
  const fetch = (async () => answer(REVOKED)) as unknown as typeof globalThis.fetch
  let told = 0
  const api = createSessionSync(
    { baseUrl: BASE, getToken: () => tokenOf(`sess_${who}`, 0), fetch, onSignedOut: () => (told += 1) },
    seams,
  )
  for (who = 0; who < 100; who += 1) await api.fetch('/a')
  t.equal(told, 100)
  who = 0
  await api.fetch('/a')
  t.equal(told, 101, 'the first is forgotten, and is asked for again')
})

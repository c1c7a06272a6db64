import { test } from 'tap'
import { effectScope, ref } from 'vue'
import { useSessionSync } from '../../packages/client/src/vue.ts'
import { waitUntil } from '../helpers/wait-until.ts'
import { answer, BASE, type Step, tokenOf } from './hostile.ts'

/** The composable with what Clerk's `useAuth()` returns, and a server that answers step by step. */
function start(t: { teardown(work: () => void): void }, steps: Step[] = []) {
  const auth = {
    isLoaded: ref(true),
    isSignedIn: ref<boolean | undefined>(true),
    userId: ref<string | null>('user_1'),
    sessionId: ref<string | null>('sess_1'),
    orgId: ref<string | null>(null),
    sessionClaims: ref<{ sts?: string } | null>(null),
  }
  const sent: string[] = []
  const reasons: string[] = []
  const scope = effectScope()
  t.teardown(() => scope.stop())
  const session = scope.run(() =>
    useSessionSync({
      baseUrl: BASE,
      ...auth,
      getToken: () =>
        tokenOf(auth.sessionId.value ?? undefined, 0, `${auth.userId.value}`, auth.orgId.value ?? undefined),
      onSignedOut: ({ reason }) => reasons.push(reason),
      fetch: (async (input: string) => {
        sent.push(input.slice(BASE.length))
        return answer(steps.shift() ?? { status: 200 })
      }) as typeof fetch,
    }),
  ) as ReturnType<typeof useSessionSync>
  const until = (status: string) => waitUntil(status, async () => session.value.status === status)
  return { ...auth, session, sent, reasons, until }
}

test('it waits for Clerk, syncs once a session, and another organization keeps the row', async (t) => {
  const { session, sent, until, isLoaded, isSignedIn, orgId, sessionClaims } = start(t)
  await until('ready')
  const before = session.value
  sessionClaims.value = {}
  orgId.value = 'org_1'
  await waitUntil('a client of the organization', async () => session.value.fetch !== before.fetch)
  t.match(session.value, { status: 'ready', user: { id: 'user_1' } })
  t.equal(sent.length, 1)
  await t.rejects(before.fetch('/a'), { code: 'SESSION_CHANGED' })
  t.equal((await session.value.fetch('/a')).status, 200)
  isSignedIn.value = false
  await until('signed-out')
  isLoaded.value = false
  await until('loading')
})

test('another account is another sync, and the first one’s late answer is dropped', async (t) => {
  const { session, sent, until, userId, sessionId } = start(t)
  userId.value = 'user_2'
  sessionId.value = 'sess_2'
  await until('ready')
  t.equal(session.value.user?.id, 'user_1', 'of the fake server')
  t.ok(sent.length >= 1)
})

test('a session that a later call finds over is refused', async (t) => {
  const { session, reasons, until } = start(t, [{ status: 200 }, { status: 403, code: 'USER_BANNED' }])
  await until('ready')
  await session.value.fetch('/a')
  await until('refused')
  t.equal(session.value.error instanceof Error && session.value.error.message, 'USER_BANNED')
  t.strictSame(reasons, ['USER_BANNED'])
})

test('a refusal of the session before does not show in the next', async (t) => {
  const { session, userId, sessionId, until } = start(t, [
    { status: 200 },
    { status: 200 },
    { status: 401, code: 'SESSION_REVOKED' },
  ])
  await until('ready')
  const { fetch } = session.value
  userId.value = 'user_2'
  sessionId.value = 'sess_2'
  await waitUntil('the next session', async () => session.value.fetch !== fetch)
  await until('ready')
  userId.value = 'user_1'
  sessionId.value = 'sess_1'
  // Before the composable hears of it: the old client, the old token.
  const late = fetch('/a')
  userId.value = 'user_2'
  sessionId.value = 'sess_2'
  t.equal((await late).status, 401)
  await new Promise(setImmediate)
  t.equal(session.value.status, 'ready')
})

test('a pending task that is done is synced again, and so is a failure once the browser is online', async (t) => {
  const page = new EventTarget()
  for (const name of ['addEventListener', 'removeEventListener'] as const) {
    Reflect.set(globalThis, name, page[name].bind(page))
    t.teardown(() => Reflect.deleteProperty(globalThis, name))
  }
  const pending: Step = { status: 403, code: 'SESSION_PENDING' }
  const { session, sent, until, sessionClaims } = start(t, [pending, { status: 500 }])
  await until('refused')
  sessionClaims.value = { sts: 'active' }
  await until('failed')
  page.dispatchEvent(new Event('online'))
  t.equal(session.value.status, 'syncing')
  await until('ready')
  page.dispatchEvent(new Event('online'))
  t.equal(sent.length, 3, 'what is ready is not synced again')
})

test('what is not given is not compared, and counts as loaded', async (t) => {
  const fetch = (async () => answer({ status: 200 })) as unknown as typeof globalThis.fetch
  const scope = effectScope()
  t.teardown(() => scope.stop())
  const options = { baseUrl: BASE, isSignedIn: true, getToken: () => tokenOf('sess_9', 0, 'user_9', 'org_9'), fetch }
  const session = scope.run(() => useSessionSync(options)) as ReturnType<typeof useSessionSync>
  await waitUntil('ready', async () => session.value.status === 'ready')
})

import { createElement, StrictMode } from 'react'
import { act, create } from 'react-test-renderer'
import { type Test, test } from 'tap'
import { type UseSessionSync, type UseSessionSyncOptions, useSessionSync } from '../../packages/client/src/react.ts'
import { answer, BASE, type Step, tokenOf } from './hostile.ts'

Reflect.set(globalThis, 'IS_REACT_ACT_ENVIRONMENT', true)

/** The hook on real React, in strict mode, which runs every effect twice. */
async function mount(t: Test, steps: Step[], initial: Partial<UseSessionSyncOptions> = {}) {
  const sent: string[] = []
  const statuses: string[] = []
  let seen = {} as UseSessionSync
  const fetch = (async (url: string) => {
    sent.push(url)
    const step = steps.shift() ?? { status: 200 }
    if (typeof step === 'object' && step.status === 200) return Response.json({ user: { id: `user_${sent.length}` } })
    return answer(step)
  }) as typeof globalThis.fetch
  const Probe = (options: UseSessionSyncOptions) => {
    seen = useSessionSync(options)
    statuses.push(seen.status)
    return null
  }
  // New functions on every render, as some apps write them.
  const page = (options: Partial<UseSessionSyncOptions>) =>
    createElement(
      StrictMode,
      null,
      createElement(Probe, {
        baseUrl: BASE,
        getToken: async () => tokenOf(options.sessionId ?? 'sess_1', 1),
        fetch,
        isSignedIn: true,
        sessionId: 'sess_1',
        ...options,
      }),
    )
  const render = async (options: Partial<UseSessionSyncOptions> = {}) => {
    await act(async () => root.update(page(options)))
    return seen
  }
  let root = undefined as unknown as ReturnType<typeof create>
  await act(async () => {
    root = create(page(initial))
  })
  t.teardown(() => act(() => root.unmount()))
  return { sent, statuses, render, see: () => seen, unmount: () => act(() => root.unmount()) }
}

test('it waits for Clerk, syncs once, and stays ready over renders', async (t) => {
  const { sent, render, see } = await mount(t, [], { isLoaded: false, isSignedIn: undefined })
  t.equal(see().status, 'loading')
  t.equal((await render({ isSignedIn: false, sessionId: null })).status, 'signed-out')
  t.strictSame(sent, [], 'nothing is sent before')
  t.match(await render(), { status: 'ready', user: { id: 'user_1' } })
  await render()
  t.strictSame(sent, [`${BASE}/api/auth/sync-user`], 'once, although effects ran twice')
  await see().fetch('/orders')
  t.equal((await see().profile()).id, 'user_3')
})

test('another session is another user', async (t) => {
  const { sent, statuses, render } = await mount(t, [])
  statuses.length = 0
  t.match(await render({ sessionId: 'sess_2' }), { status: 'ready', user: { id: 'user_2' } })
  t.equal(statuses[0], 'syncing', 'never ready with the user of before')
  t.equal(sent.length, 2)
})

test('a refusal says so, and onSignedOut gets the reason once, the latest function', async (t) => {
  const reasons: string[] = []
  for (const [status, code] of [
    [401, 'SESSION_REVOKED'],
    [403, 'USER_DELETED'],
    [403, 'SESSION_PENDING'],
  ] as const) {
    const { see } = await mount(t, [{ status, code }], { onSignedOut: ({ reason }) => reasons.push(reason) })
    t.match(see(), { status: 'refused', error: { code } })
  }
  t.strictSame(reasons, ['SESSION_REVOKED', 'USER_DELETED'])
  t.equal((await mount(t, [{ status: 403, code: 'USER_BANNED' }])).see().status, 'refused', 'without onSignedOut too')
})

test('a failure can be tried again', async (t) => {
  const { see } = await mount(t, [{ status: 500 }])
  t.match(see(), { status: 'failed', error: { status: 500 } })
  await act(async () => see().retry())
  t.match(see(), { status: 'ready', user: { id: 'user_2' } })
})

test('ready ends with the session, whichever call finds it over', async (t) => {
  const { see } = await mount(t, [{ status: 200 }, { status: 401, code: 'SESSION_REVOKED' }])
  t.equal(see().status, 'ready')
  await act(async () => void (await see().fetch('/a')))
  t.match(see(), { status: 'refused', error: { code: 'SESSION_REVOKED', status: 401 } })
})

test('functions of one account’s render never act for the next', async (t) => {
  let who = 'user_1'
  const getToken = () => tokenOf('sess_1', 0, who)
  const { sent, see, render } = await mount(t, [], { userId: 'user_1', getToken })
  const { fetch } = see()
  who = 'user_2'
  await t.rejects(fetch('/orders', { method: 'POST', body: 'of the first' }), { code: 'SESSION_CHANGED' })
  t.equal(sent.length, 1, 'the sync alone')
  t.equal((await render({ userId: 'user_2', getToken })).status, 'ready')
  t.equal((await see().fetch('/orders')).status, 200)
})

test('another organization keeps the row; its absence is compared too', async (t) => {
  const { sent, see, render } = await mount(t, [], { orgId: null })
  const before = see()
  const getToken = () => tokenOf('sess_1', 0, 'user_1', 'org_1')
  t.equal((await render({ orgId: 'org_1', getToken })).status, 'ready')
  t.equal(sent.length, 1)
  await t.rejects(before.fetch('/a'), { code: 'SESSION_CHANGED' })
  t.equal((await see().fetch('/a')).status, 200)
})

test('a token without a sid is of the user’s session', async (t) => {
  const getToken = () => tokenOf(undefined, 0, 'user_1')
  const { see } = await mount(t, [], { userId: 'user_1', getToken })
  t.equal(see().status, 'ready')
})

test('a pending task that is done is synced again', async (t) => {
  const { sent, see, render } = await mount(t, [{ status: 403, code: 'SESSION_PENDING' }])
  t.equal(see().status, 'refused')
  t.equal((await render({ sessionClaims: { sts: 'active' } })).status, 'ready')
  t.equal(sent.length, 2)
})

test('a failure is tried again once the browser is online', async (t) => {
  const page = new EventTarget()
  for (const name of ['addEventListener', 'removeEventListener'] as const) {
    Reflect.set(globalThis, name, page[name].bind(page))
    t.teardown(() => Reflect.deleteProperty(globalThis, name))
  }
  const { see } = await mount(t, [{ status: 500 }])
  t.equal(see().status, 'failed')
  await act(async () => void page.dispatchEvent(new Event('online')))
  t.equal(see().status, 'ready')
})

test('what comes after the component is gone is dropped', async (t) => {
  let answer = (_token: string) => {}
  const token = new Promise<string>((resolve) => {
    answer = resolve
  })
  const { see, unmount, statuses } = await mount(t, [], { getToken: () => token })
  t.equal(see().status, 'syncing')
  unmount()
  const renders = statuses.length
  await act(async () => answer('x'))
  t.equal(statuses.length, renders)
})

test('a sync of the session before, still under way, is not taken for that of the next', async (t) => {
  const never = new Promise<string>(() => {})
  const { sent, render, see } = await mount(t, [], { getToken: () => never })
  t.equal(see().status, 'syncing')
  t.match(await render({ sessionId: 'sess_2' }), { status: 'ready', user: { id: 'user_1' } })
  t.equal(sent.length, 1)
})

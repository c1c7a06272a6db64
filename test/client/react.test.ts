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

import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { QueryClient } from '@tanstack/query-core'
import { transform } from 'esbuild'
import { createElement, StrictMode } from 'react'
import { act, create } from 'react-test-renderer'
import { type Test, test } from 'tap'
import { effectScope, ref } from 'vue'
import { createSessionSync, type SessionSync } from '../../packages/client/src/index.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'
import { blockOf, ROOT } from './markdown.ts'

/** A snippet of the guide as a module; the package's name stands for the sources. */
async function importSnippet(t: Test, marker: string) {
  const directory = t.testdir({ node_modules: { 'clerk-session-sync-client': {}, '@clerk': { react: {}, vue: {} } } })
  const packages = join(directory, 'node_modules')
  const exports = { '.': './index.js', './react': './react.js', './vue': './vue.js' }
  writeFileSync(join(packages, 'clerk-session-sync-client/package.json'), JSON.stringify({ type: 'module', exports }))
  for (const name of ['index', 'react', 'vue']) {
    const source = pathToFileURL(join(ROOT, `packages/client/src/${name}.ts`))
    writeFileSync(join(packages, `clerk-session-sync-client/${name}.js`), `export * from '${source}'`)
  }
  const clerk = "export const SignIn = 'x-sign-in', SignOutButton = 'x-sign-out', useAuth = () => globalThis.fakeAuth"
  for (const name of ['react', 'vue']) {
    writeFileSync(join(packages, `@clerk/${name}/package.json`), '{"type": "module", "exports": "./index.js"}')
    writeFileSync(join(packages, `@clerk/${name}/index.js`), clerk)
  }
  for (const name of ['react', 'vue', 'axios', 'ky', 'openapi-fetch'])
    symlinkSync(join(ROOT, 'node_modules', name), join(packages, name))
  mkdirSync(join(directory, 'app'))
  // Or the name would mean the package that the test is in.
  writeFileSync(join(directory, 'package.json'), '{"type": "module"}')
  const { code } = await transform(blockOf('FRONTEND_SESSION_SYNC_GUIDE.md', marker), {
    loader: 'tsx',
    jsx: 'automatic',
  })
  writeFileSync(join(directory, 'app/snippet.mjs'), code)
  return import(pathToFileURL(join(directory, 'app/snippet.mjs')).href)
}

async function start(t: Test, settings: Record<string, string> = {}) {
  const service = await startService(t, { settings })
  service.clerk.webhooks.url = undefined
  const user = service.clerk.createUser({ email: 'ada@example.com' })
  const session = service.clerk.signIn(user.id)
  return { ...service, user, session, getToken: async () => service.clerk.sessionToken(session.id) }
}

test('the client', async (t) => {
  const { url, user, session, clerk, getToken } = await start(t)
  const { connect, start: begin } = await importSnippet(t, 'client')
  const ended: unknown[] = []
  const signOut = async (options: unknown) => ended.push(options)
  const api: SessionSync = connect({ session: { getToken }, signOut }, url)
  t.match(await begin(api), { user: { id: user.id }, profile: { id: user.id } })
  clerk.webhooks.url = `${url}/clerk`
  clerk.revokeSession(session.id)
  await clerk.webhooks.idle()
  await t.rejects(begin(api), { code: 'SESSION_REVOKED' })
  t.strictSame(ended, [{ sessionId: session.id }], 'that session alone')
  await t.rejects(connect({ signOut }, url).syncUser(), { code: 'SIGNED_OUT' })
})

test('the React hook, in strict mode', async (t) => {
  const { url, clerk, session, getToken } = await start(t)
  Reflect.set(globalThis, 'IS_REACT_ACT_ENVIRONMENT', true)
  const asked: string[] = []
  const signOut = async ({ sessionId }: { sessionId: string }) => asked.push(`to sign out ${sessionId}`)
  const auth = { isLoaded: true, isSignedIn: true, sessionId: session.id, getToken, signOut }
  Reflect.set(globalThis, 'fakeAuth', auth)
  t.teardown(() => Reflect.deleteProperty(globalThis, 'fakeAuth'))
  const { Account } = await importSnippet(t, 'hook')
  const page = () => createElement(StrictMode, null, createElement(Account, { baseUrl: url }))
  let root = undefined as unknown as ReturnType<typeof create>
  const shown = () => JSON.stringify(root.toJSON())
  const settle = (text: string) =>
    waitUntil(text, async () => {
      await act(async () => {})
      return shown().includes(text)
    })
  await act(async () => {
    root = create(page())
  })
  t.teardown(() => act(() => root.unmount()))
  await settle('ada@example.com')

  Reflect.set(globalThis, 'fakeAuth', { ...auth, isSignedIn: false, sessionId: null })
  await act(async () => root.update(page()))
  t.match(shown(), /x-sign-in/)

  clerk.webhooks.url = `${url}/clerk`
  clerk.revokeSession(session.id)
  await clerk.webhooks.idle()
  Reflect.set(globalThis, 'fakeAuth', auth)
  await act(async () => root.update(page()))
  // The client of before is gone with its session.
  await settle('SESSION_REVOKED')
  t.strictSame(asked, [`to sign out ${session.id}`])
})

test('Vue', async (t) => {
  const { url, user, session, getToken } = await start(t)
  const [isSignedIn, sessionId] = [ref(false), ref<string | null>(null)]
  Reflect.set(globalThis, 'fakeAuth', { isLoaded: ref(true), isSignedIn, sessionId, getToken: ref(getToken) })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'fakeAuth'))
  const { useAccount } = await importSnippet(t, 'vue')
  const scope = effectScope()
  t.teardown(() => scope.stop())
  const account = scope.run(() => useAccount(url))
  t.equal(account.value.status, 'signed-out')
  sessionId.value = session.id
  isSignedIn.value = true
  await waitUntil('ready', async () => account.value.status === 'ready')
  t.equal(account.value.user.id, user.id)
  account.value.retry()
  t.equal(account.value.status, 'syncing')
  await waitUntil('ready again', async () => account.value.status === 'ready')
})

test('axios, ky, openapi-fetch and TanStack Query, each with a token that has expired', async (t) => {
  const { url, user, session, clerk } = await start(t)
  const libraries = await importSnippet(t, 'libraries')
  const iat = Math.floor(Date.now() / 1000) - 120
  const expired = clerk.sessionToken(session.id, { claims: { iat, nbf: iat, exp: iat + 60 } })
  let fresh = 0
  function begin(): SessionSync {
    fresh = 0
    const getToken = async ({ skipCache = false } = {}) => {
      if (!skipCache) return expired
      fresh += 1
      return clerk.sessionToken(session.id)
    }
    return createSessionSync({ baseUrl: url, getToken })
  }
  const statusOf = (call: Promise<unknown>) => call.then(undefined, ({ response }) => response.status)
  const profile = '/api/auth/profile'
  const sync = '/api/auth/sync-user'
  const body = { ignored: true }

  const withAxios = libraries.withAxios(begin(), url)
  t.match((await withAxios.post(sync, body)).data, { user: { id: user.id } })
  t.match((await withAxios.get(profile)).data, { user: { id: user.id } })
  t.equal(fresh, 1, 'axios: a body was sent again, and both requests shared one fresh token')
  t.equal(await statusOf(withAxios.get('/api/nothing')), 404)

  const withKy = libraries.withKy(begin(), url)
  t.match(await withKy.post(sync, { json: body }).json(), { user: { id: user.id } })
  t.match(await withKy(profile).json(), { user: { id: user.id } })
  t.equal(fresh, 1, 'ky')
  t.equal(await statusOf(withKy('/api/nothing').json()), 404)

  const withOpenApi = libraries.withOpenApi(begin(), url)
  t.match(await withOpenApi.POST(sync, { body }), { data: { user: { id: user.id } } })
  t.match(await withOpenApi.GET(profile), { data: { user: { id: user.id } } })
  t.equal(fresh, 1, 'openapi-fetch')
  t.match(await withOpenApi.GET('/api/nothing'), { response: { status: 404 }, error: { code: String } })

  const { profileQuery } = libraries
  const queries = new QueryClient()
  t.match(await queries.fetchQuery(profileQuery(begin(), session.id)), { id: user.id })
  t.equal(fresh, 1, 'TanStack Query')
  const signedOut = createSessionSync({ baseUrl: url, getToken: () => null })
  await t.rejects(queries.fetchQuery(profileQuery(signedOut, 'sess_none')), { code: 'SIGNED_OUT' })
  queries.clear()
})

test('a backend for the front end forwards the session cookie, and nothing else', async (t) => {
  const { url, user, getToken } = await start(t, { CLERK_AUTHORIZED_PARTIES: 'http://localhost:5173' })
  const { passOn } = await importSnippet(t, 'bff')
  const ask = (headers: Record<string, string>, serviceUrl = url): Promise<Response> =>
    passOn(new Request('https://app.example.com/api/auth/profile', { headers }), serviceUrl)
  const token = await getToken()
  for (const [name, value] of [
    ['cookie', `theme=dark; __session=${token}`],
    ['authorization', `Bearer ${token}`],
  ] as const) {
    const answer = await ask({ [name]: value })
    t.equal(answer.status, 200)
    t.match(await answer.json(), { user: { id: user.id } })
  }
  const refused = await ask({ cookie: 'x__session=nothing' })
  t.equal(refused.status, 401)
  t.equal(refused.headers.get('www-authenticate'), 'Bearer')
  const down = await ask({}, 'http://127.0.0.1:1')
  t.equal(down.status, 503)
  t.equal(down.headers.get('retry-after'), '1')
})

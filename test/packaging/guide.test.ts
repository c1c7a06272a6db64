import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Test, test } from 'tap'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import * as errors from '../../src/errors.ts'
import { createDatabase } from '../helpers/database.ts'
import { eventually } from '../helpers/jwks-server.ts'
import { type Service, startService } from '../helpers/service.ts'
import { type Element, mount } from './fake-react.ts'
import { blockOf, ROOT, rowsOf } from './markdown.ts'

const GUIDE = 'FRONTEND_SESSION_SYNC_GUIDE.md'

interface ClerkFunctions {
  getToken: (options?: { skipCache?: boolean }) => Promise<string | null>
  signOut: () => Promise<void>
}

interface Api {
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came
  call(path: string, init?: RequestInit): Promise<any>
  // biome-ignore lint/suspicious/noExplicitAny: as above
  syncUser(): Promise<any>
}

interface Snippet {
  createSessionSync(options: ClerkFunctions & { baseUrl: string }): Api
}

/** The snippet of the guide, as a module of its own. */
async function importFetchSnippet(t: Test): Promise<Snippet> {
  const directory = snippetDirectory(t)
  writeFileSync(join(directory, 'session-sync.js'), blockOf(GUIDE, 'fetch'))
  return await import(pathToFileURL(join(directory, 'session-sync.js')).href)
}

function snippetDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'clerk-session-sync-guide-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  writeFileSync(join(directory, 'package.json'), '{"type": "module"}')
  return directory
}

/** The requests of the snippet from here on, as `GET /path status`; the service, in this process too, makes others. */
function recordRequests(t: Test, onAnswer: (response: Response) => void = () => {}): string[] {
  const requests: string[] = []
  const { fetch } = globalThis
  globalThis.fetch = async (input, init) => {
    const response = await fetch(input, init)
    const { pathname } = new URL(String(input))
    if (pathname.startsWith('/api/')) {
      requests.push(`${init?.method ?? 'GET'} ${pathname} ${response.status}`)
      onAnswer(response)
    }
    return response
  }
  t.teardown(() => {
    globalThis.fetch = fetch
  })
  return requests
}

/** Somebody who is signed in at Clerk, and Clerk's functions in the browser, which write down how they were called. */
function signIn({ clerk }: Pick<Service, 'clerk'>, { staleTokens = 0 } = {}) {
  const user = clerk.createUser({ email: 'ada@example.com', firstName: 'Ada' })
  const session = clerk.signIn(user.id)
  const asked: string[] = []
  let stale = staleTokens
  const functions: ClerkFunctions = {
    async getToken(options) {
      asked.push(options?.skipCache ? 'a fresh token' : 'a token')
      stale -= 1
      return clerk.sessionToken(session.id, stale >= 0 ? { expiresInSeconds: -60 } : {})
    },
    async signOut() {
      asked.push('to sign out')
    },
  }
  return { user, session, asked, functions }
}

async function start(t: Test, options: { settings?: Record<string, string>; staleTokens?: number } = {}) {
  const { createSessionSync } = await importFetchSnippet(t)
  const service = await startService(t, { settings: options.settings })
  service.clerk.webhooks.url = undefined
  const person = signIn(service, options)
  const api = createSessionSync({ baseUrl: service.url, ...person.functions })
  return { ...service, ...person, api, requests: recordRequests(t) }
}

test('sync-user makes the row, once for calls at the same time', async (t) => {
  const { api, user, requests } = await start(t)
  const [first, second] = await Promise.all([api.syncUser(), api.syncUser()])
  t.match(first, { user: { id: user.id, firstName: 'Ada' }, created: true })
  t.equal(first, second)
  t.strictSame(requests, ['POST /api/auth/sync-user 201'])
  t.match(await api.call('/api/auth/profile'), { user: { id: user.id } })
})

test('an expired token is exchanged for a fresh one, once', async (t) => {
  const { api, user, asked, requests } = await start(t, { staleTokens: 1 })
  t.match(await api.call('/api/auth/profile'), { user: { id: user.id } })
  t.strictSame(asked, ['a token', 'a fresh token'])
  t.strictSame(requests, ['GET /api/auth/profile 401', 'GET /api/auth/profile 200'])
})

test('a fresh token that is no good either ends in an error, not in a loop or a sign-out', async (t) => {
  const { api, asked, requests } = await start(t, { staleTokens: 9 })
  await t.rejects(api.call('/api/auth/profile'), { name: 'ApiError', status: 401, code: 'TOKEN_EXPIRED' })
  t.strictSame(asked, ['a token', 'a fresh token'])
  t.equal(requests.length, 2)
})

test('a user who is not synced is synced, once', async (t) => {
  const { api, user, requests } = await start(t, { settings: { AUTO_SYNC: 'false' } })
  t.match(await api.call('/api/auth/profile'), { user: { id: user.id } })
  t.strictSame(requests, ['GET /api/auth/profile 401', 'POST /api/auth/sync-user 201', 'GET /api/auth/profile 200'])
})

test('a session that is over is ended in the browser', async (t) => {
  const { api, clerk, session, asked, requests, url } = await start(t)
  await api.syncUser()
  clerk.webhooks.url = `${url}/clerk`
  clerk.revokeSession(session.id)
  await clerk.webhooks.idle()
  await t.rejects(api.call('/api/auth/profile'), { status: 401, code: 'SESSION_REVOKED' })
  t.strictSame(asked, ['a token', 'a token', 'to sign out'])
  t.equal(requests.at(-1), 'GET /api/auth/profile 401')
})

test('a deleted user is not tried again, and not signed out', async (t) => {
  const { api, clerk, user, asked, requests, url } = await start(t)
  await api.syncUser()
  clerk.webhooks.url = `${url}/clerk`
  clerk.deleteUser(user.id)
  await clerk.webhooks.idle()
  const before = requests.length
  await t.rejects(api.call('/api/auth/profile'), { status: 403, code: 'USER_DELETED', requestId: /./ })
  t.equal(requests.length - before, 1)
  t.notOk(asked.includes('to sign out'))
})

test('nobody signed in is no request', async (t) => {
  const { createSessionSync } = await importFetchSnippet(t)
  const requests = recordRequests(t)
  const api = createSessionSync({ baseUrl: 'http://127.0.0.1:1', getToken: async () => null, signOut: async () => {} })
  await t.rejects(api.syncUser(), { status: 401, code: 'SIGNED_OUT' })
  t.strictSame(requests, [])
})

/** A service whose keys cannot be fetched: every token is answered 503, with a Retry-After that grows. */
async function startWithoutKeys(t: Test) {
  const { createSessionSync } = await importFetchSnippet(t)
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.faults.jwks = 'error'
  const { url } = await startService(t, { beside: { clerk, database: await createDatabase(t) } })
  const person = signIn({ clerk })
  const answers: { at: number; retryAfterSeconds: number }[] = []
  const requests = recordRequests(t, ({ headers }) => {
    answers.push({ at: performance.now(), retryAfterSeconds: Number(headers.get('retry-after')) })
  })
  return { clerk, ...person, answers, requests, api: createSessionSync({ baseUrl: url, ...person.functions }) }
}

test('a 503 is tried again after Retry-After', { timeout: 60_000 }, async (t) => {
  const { api, clerk, user, answers, requests } = await startWithoutKeys(t)
  const answer = api.call('/api/auth/profile')
  await eventually(() => requests.length === 1)
  clerk.faults.jwks = undefined
  t.match(await answer, { user: { id: user.id } })
  t.match(requests[0], / 503$/)
  t.match(requests.at(-1), / 200$/)
  const [refused, answered] = answers
  if (!refused || !answered) throw new Error('it was not tried again')
  t.ok(refused.retryAfterSeconds >= 1)
  t.ok((answered.at - refused.at) / 1000 >= refused.retryAfterSeconds, 'and not before')
})

test('a service that stays unavailable is asked four times', { timeout: 60_000 }, async (t) => {
  const { api, asked, requests } = await startWithoutKeys(t)
  await t.rejects(api.call('/api/auth/profile'), { status: 503, code: 'JWKS_UNAVAILABLE' })
  t.strictSame(requests, Array(4).fill('GET /api/auth/profile 503'))
  t.notOk(asked.includes('to sign out'))
})

test('a wait can be given up', async (t) => {
  const { api, requests } = await startWithoutKeys(t)
  const controller = new AbortController()
  const answer = api.call('/api/auth/profile', { signal: controller.signal })
  await eventually(() => requests.length === 1)
  const abortedAt = performance.now()
  controller.abort()
  await t.rejects(answer, { name: 'AbortError' })
  t.ok(performance.now() - abortedAt < 900, 'at once, and not after Retry-After')
  t.equal(requests.length, 1)
})

interface Auth {
  isLoaded: boolean
  isSignedIn: boolean
  sessionId: string | null
}

/** The React snippet, compiled as it stands, on a stand-in of React and of Clerk's hook. */
async function importReactSnippet(t: Test, auth: Auth & ClerkFunctions) {
  const directory = snippetDirectory(t)
  writeFileSync(join(directory, 'session-sync.js'), blockOf(GUIDE, 'fetch'))
  writeFileSync(join(directory, 'session-gate.jsx'), blockOf(GUIDE, 'react'))
  const react = pathToFileURL(join(import.meta.dirname, 'fake-react.ts')).href
  addPackage(directory, 'react', { './jsx-runtime': './index.js' }, `export * from '${react}'`)
  const parts = `export const SignIn = 'SignIn', SignOutButton = 'SignOutButton', useAuth = () => globalThis.fakeAuth`
  addPackage(directory, '@clerk/react', {}, parts)
  const compile = spawnSync(
    process.execPath,
    [
      // Not bin/tsc, whose name without an extension tap's loaders take for CommonJS.
      join(ROOT, 'node_modules/typescript/lib/tsc.js'),
      ...['--ignoreConfig', '--allowJs', '--jsx', 'react-jsx', '--module', 'esnext', '--moduleResolution', 'bundler'],
      ...['--target', 'es2024', '--types', '', '--outDir', 'out', 'session-gate.jsx'],
    ],
    { cwd: directory, encoding: 'utf8' },
  )
  t.equal(compile.status, 0, compile.stdout + compile.stderr)
  t.teardown(() => Reflect.deleteProperty(globalThis, 'fakeAuth'))
  Reflect.set(globalThis, 'fakeAuth', auth)
  return (await import(pathToFileURL(join(directory, 'out/session-gate.js')).href)) as {
    SessionGate: (props: { baseUrl: string; children: unknown }) => Element
  }
}

function addPackage(directory: string, name: string, exports: Record<string, string>, code: string): void {
  const path = join(directory, 'node_modules', name)
  mkdirSync(path, { recursive: true })
  writeFileSync(
    join(path, 'package.json'),
    JSON.stringify({ type: 'module', exports: { '.': './index.js', ...exports } }),
  )
  writeFileSync(join(path, 'index.js'), code)
}

/** What a reader of the page sees, children of our own components left out. */
function textOf(node: unknown): string {
  if (Array.isArray(node)) return node.map(textOf).join('')
  if (typeof node === 'string') return node
  const { type, props } = (node ?? {}) as Partial<Element>
  return `${typeof type === 'string' ? `<${type}>` : ''}${textOf(props?.children ?? '')}`
}

test('React: signed out, syncing, ready', async (t) => {
  const service = await startService(t)
  service.clerk.webhooks.url = undefined
  const { user, session, functions } = signIn(service)
  const auth = { isLoaded: false, isSignedIn: false, sessionId: null as string | null, ...functions }
  const { SessionGate } = await importReactSnippet(t, auth)
  const { render } = mount(SessionGate, { baseUrl: service.url, children: 'the app' })

  t.match(textOf(render()), 'One moment…')
  auth.isLoaded = true
  t.equal(textOf(render()), '<SignIn>', 'only to those who are signed out at Clerk')
  Object.assign(auth, { isSignedIn: true, sessionId: session.id })
  const requests = recordRequests(t)
  t.match(textOf(render()), 'One moment…')
  await eventually(() => textOf(render()) === 'the app')
  t.match(render().props.value, { user: { id: user.id }, api: { call: Function } })
  t.strictSame(requests, ['POST /api/auth/sync-user 201'], 'once, although the effect ran twice')

  Object.assign(auth, { isSignedIn: false, sessionId: null })
  t.equal(textOf(render()), '<SignIn>')
})

test('React: a refusal is said, a failure can be tried again', async (t) => {
  const service = await startService(t)
  const { user, session, functions } = signIn(service, { staleTokens: 2 })
  const { SessionGate } = await importReactSnippet(t, {
    isLoaded: true,
    isSignedIn: true,
    sessionId: session.id,
    ...functions,
  })
  const { render } = mount(SessionGate, { baseUrl: service.url, children: 'the app' })
  await eventually(() => textOf(render()).includes('TOKEN_EXPIRED'))
  const page = render()
  t.match(textOf(page), '<button>Try again')
  service.clerk.deleteUser(user.id)
  await service.clerk.webhooks.idle()
  const button = (page.props.children as Element[]).find(({ type }) => type === 'button') as Element
  const click = button.props.onClick as () => void
  click()
  t.match(textOf(render()), 'One moment…')
  await eventually(() => textOf(render()).includes('USER_DELETED'))
  t.match(textOf(render()), '<SignOutButton>')
})

test('the guide explains every code that a signed-in caller can get', async (t) => {
  const codes = Object.values(errors).flatMap((value) => {
    if (typeof value !== 'function' || !('prototype' in value) || !(value.prototype instanceof Error)) return []
    const { statusCode, code } = new (value as new () => Error & { statusCode: number; code: string })()
    // The dashboard is called by its own page alone.
    const isForCallers = [401, 403, 429, 503].includes(statusCode) && !code.startsWith('DASHBOARD_')
    return isForCallers ? `${statusCode} ${code}` : []
  })
  const shown = rowsOf(GUIDE, /^[45]\d\d$/).flatMap(([status, cell = '']) =>
    [...cell.matchAll(/[A-Z_]+/g)].map(([code]) => `${status} ${code}`),
  )
  t.ok(codes.length >= 11, 'the codes are found')
  t.strictSame(shown.toSorted(), codes.toSorted())
})

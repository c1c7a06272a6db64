import { connect, Socket } from 'node:net'
import pg from 'pg'
import { test } from 'tap'
import { loadConfig } from '../src/config.ts'
import { migrate } from '../src/db/migrate.ts'
import { createClerkEmulator } from '../src/emulator/index.ts'
import { explain, serverOptions } from '../src/server.ts'
import { createDatabase } from './helpers/database.ts'
import { freePorts, runBuilt, runNode } from './helpers/process.ts'
import { createTcpProxy } from './helpers/tcp-proxy.ts'

// `npm test` builds first.
const SERVERS = { source: ['src/server.ts', runNode], built: ['dist/server.js', runBuilt] } as const
for (const [name, [file, run]] of Object.entries(SERVERS)) {
  test(`${name}: in production, missing settings are named all at once`, async (t) => {
    const server = run(t, [file], { NODE_ENV: 'production' })
    t.equal(await server.exit, 1)
    t.match(server.output(), /3 settings are missing or wrong/)
    for (const setting of ['DATABASE_URL', 'CLERK_ISSUER', 'CLERK_WEBHOOK_SIGNING_SECRET']) {
      t.match(server.output(), new RegExp(`- ${setting} is missing`))
    }
    t.notMatch(server.output(), /\n\s+at /, 'no stack')
  })

  test(`${name}: in production, with its settings, it migrates, serves, and ends cleanly`, async (t) => {
    const database = await createDatabase(t, { isEmpty: true })
    const clerk = await createClerkEmulator()
    t.teardown(() => clerk.close())
    const port = await freePorts()
    const server = run(t, [file], {
      NODE_ENV: 'production',
      PORT: String(port),
      HOST: '127.0.0.1',
      DATABASE_URL: database.url,
      CLERK_ISSUER: clerk.issuer,
      CLERK_SECRET_KEY: clerk.secretKey,
      CLERK_API_URL: clerk.apiUrl,
      CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
    })
    await server.until(/Server listening/)
    const url = `http://127.0.0.1:${port}`
    clerk.webhooks.url = `${url}/clerk`
    const ada = clerk.createUser({ email: 'ada@example.com' })
    const token = clerk.sessionToken(clerk.signIn(ada.id).id)
    await clerk.webhooks.idle()
    t.match(await database.query('select * from users'), [{ id: ada.id, sync_source: 'webhook' }])
    const profile = await fetch(`${url}/api/auth/profile`, { headers: { authorization: `Bearer ${token}` } })
    t.equal(profile.status, 200)
    const refused = (await (await fetch(`${url}/api/auth/profile`)).json()) as object
    t.notOk('stack' in refused || 'details' in refused, 'production shows no stack')

    for (const line of server.output().trim().split('\n')) t.doesNotThrow(() => JSON.parse(line), 'logs are JSON')
    t.notMatch(server.output(), /ada@example\.com/, 'logs hold no personal data')
    t.notMatch(server.output(), token, 'nor tokens')
    server.child.kill('SIGTERM')
    t.equal(await server.exit, 0)
  })
}

test('a port in use is a clear message, and exit code 1', async (t) => {
  const database = await createDatabase(t)
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const { port } = new URL(clerk.url)
  const server = runNode(t, ['src/server.ts'], {
    NODE_ENV: 'test',
    PORT: port,
    DATABASE_URL: database.url,
    CLERK_ISSUER: clerk.issuer,
  })
  t.equal(await server.exit, 1)
  t.match(
    server.output(),
    new RegExp(`127\\.0\\.0\\.1:${port} is in use: stop the program that listens there, or set PORT`),
  )
})

test('the start waits for a database that starts later, and fails if the database refuses it', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const settings = { NODE_ENV: 'test', PORT: '0', CLERK_ISSUER: clerk.issuer }
  await proxy.cut()
  const patient = runNode(t, ['src/server.ts'], { ...settings, DATABASE_URL: proxy.url })
  await patient.until(/the database is not ready, retrying/)
  await proxy.restore()
  await patient.until(/Server listening/)
  patient.child.kill('SIGTERM')
  t.equal(await patient.exit, 0)

  await database.query('drop table users cascade')
  await database.query('create table users (id int)')
  await database.query('drop table clerk_session_sync_migrations')
  const refused = runNode(t, ['src/server.ts'], { ...settings, DATABASE_URL: database.url })
  t.equal(await refused.exit, 1)
  t.match(refused.output(), /cannot start: .*already has tables that do not belong to clerk-session-sync/)
})

test('requests that arrive while the service closes are answered 503', async (t) => {
  const database = await createDatabase(t)
  const clerk = await createClerkEmulator({ tokenTtlSeconds: 600 })
  t.teardown(() => clerk.close())
  const port = await freePorts()
  const server = runNode(t, ['src/server.ts'], {
    NODE_ENV: 'test',
    PORT: String(port),
    DATABASE_URL: database.url,
    CLERK_ISSUER: clerk.issuer,
    CLERK_SECRET_KEY: clerk.secretKey,
    CLERK_API_URL: clerk.apiUrl,
  })
  await server.until(/Server listening/)
  // A request that takes a while keeps the service from closing at once.
  clerk.faults.api = { delayMs: 1_500 }
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  const slow = fetch(`http://127.0.0.1:${port}/api/auth/profile`, { headers: { authorization: `Bearer ${token}` } })
  const kept = connect(port, '127.0.0.1').setEncoding('utf8')
  t.teardown(() => kept.destroy())
  const replies: string[] = []
  kept.on('data', (text) => replies.push(String(text)))
  while (clerk.stats.apiRequests === 0) await new Promise((done) => setTimeout(done, 10))
  // Half a request keeps the connection open while the server closes.
  kept.write('GET /api/auth/profile HTTP/1.1\r\n')
  await new Promise((done) => setTimeout(done, 100))
  server.child.kill('SIGTERM')
  await server.until(/closing/)
  await new Promise((done) => setTimeout(done, 300))
  kept.write('host: x\r\n\r\n')
  while (replies.length === 0) await new Promise((done) => setTimeout(done, 10))
  t.match(replies[0], /^HTTP\/1\.1 503 /)
  t.match(replies[0], /"code":"SHUTTING_DOWN"/)
  t.match(replies[0], /retry-after: \d/i)
  t.equal((await slow).status, 200, 'the accepted request finishes')
  t.equal(await server.exit, 0)
})

test('a host that is no address is a clear message; settings that do nothing are warnings', async (t) => {
  const database = await createDatabase(t)
  const settings = { NODE_ENV: 'test', PORT: '0', DATABASE_URL: database.url, CLERK_ISSUER: 'http://127.0.0.1:9' }
  const elsewhere = runNode(t, ['src/server.ts'], { ...settings, HOST: '192.0.2.1' })
  t.equal(await elsewhere.exit, 1)
  t.match(elsewhere.output(), /cannot listen: HOST is no address of this machine \(listen EADDRNOTAVAIL/)
  const nowhere = runNode(t, ['src/server.ts'], { ...settings, HOST: 'host.invalid' })
  t.equal(await nowhere.exit, 1)
  t.match(nowhere.output(), /cannot listen: HOST is no address of this machine \(getaddrinfo \w+ host\.invalid\)/)
  const ignored = { TRUST_PROXY: 'true', CHANGES_TOKEN: 'token-of-the-change-feed', RECONCILE_INTERVAL_MINUTES: '5' }
  const server = runNode(t, ['src/server.ts'], { ...settings, ...ignored })
  await server.until(/Server listening/)
  t.match(server.output(), /the change feed is off, although CHANGES_TOKEN or CHANGES_WEBHOOK_URL is set/)
  t.match(server.output(), /nothing is reconciled, although RECONCILE_INTERVAL_MINUTES is set/)
  t.match(server.output(), /TRUST_PROXY=true lets every client forge its address/)
  server.child.kill('SIGTERM')
  t.equal(await server.exit, 0)
})

test('a signal while it waits for the database ends it too', async (t) => {
  const server = runNode(t, ['src/server.ts'], {
    NODE_ENV: 'test',
    PORT: '0',
    DATABASE_URL: 'postgres://a:b@127.0.0.1:9/c',
    CLERK_ISSUER: 'http://127.0.0.1:9',
  })
  await server.until(/the database is not ready/)
  server.child.kill('SIGTERM')
  t.equal(await server.exit, 0)
})

test('an uncaught error is logged, and the process exits with code 1', async (t) => {
  const database = await createDatabase(t)
  const throwing = 'data:text/javascript,process.on("SIGWINCH",()=>{Promise.reject(new Error("boom"))})'
  const settings = { NODE_ENV: 'test', PORT: '0', DATABASE_URL: database.url, CLERK_ISSUER: 'http://127.0.0.1:9' }
  const server = runNode(t, ['--import', throwing, 'src/server.ts'], settings)
  await server.until(/Server listening/)
  server.child.kill('SIGWINCH')
  t.equal(await server.exit, 1)
  t.match(server.output(), /unexpected error, closing/)
  t.match(server.output(), /boom/)
})

test('outside production, without a Clerk instance, it runs with an emulator and says where', async (t) => {
  const database = await createDatabase(t)
  const server = runNode(t, ['src/server.ts'], { NODE_ENV: 'test', PORT: '0', DATABASE_URL: database.url })
  const [, url] = await server.until(/an emulator runs at (http:[^"\s]+)/)
  t.equal((await fetch(url as string)).status, 200)
  server.child.kill('SIGTERM')
  t.equal(await server.exit, 0)
})

test('a closed connection is not answered', async (t) => {
  const { clientErrorHandler } = serverOptions(loadConfig({ NODE_ENV: 'test' }))
  const socket = new Socket()
  clientErrorHandler?.call(
    undefined as never,
    Object.assign(new Error('gone'), { code: 'ECONNRESET' }) as never,
    socket,
  )
  t.ok(socket.destroyed)
})

test('explain says what is known, whatever was thrown', async (t) => {
  const database = await createDatabase(t)
  const failure = (change: (url: URL) => void) => {
    const url = new URL(database.url)
    change(url)
    return migrate(url.href).then(() => 'no error', explain)
  }
  const wrongLogin =
    /cannot start: PostgreSQL refuses the login \(.*\): check user, password and database name of DATABASE_URL$/
  t.match(await failure((url) => Object.assign(url, { username: 'nobody', password: 'x' })), wrongLogin)
  t.match(await failure((url) => Object.assign(url, { pathname: '/nowhere' })), wrongLogin)
  t.match(
    await failure((url) => Object.assign(url, { port: '9' })),
    /cannot start: PostgreSQL is not available \(.*ECONNREFUSED.*\): check DATABASE_URL, and that it runs/,
  )
  const readOnly = Object.assign(new pg.DatabaseError('cannot execute INSERT', 1, 'error'), { code: '25006' })
  t.match(explain(readOnly), /cannot start: the database of DATABASE_URL is read-only, .*: use the URL of the primary$/)
  const denied = Object.assign(new pg.DatabaseError('permission denied', 1, 'error'), { code: '42501' })
  t.match(explain(denied), /cannot start: permission denied$/, 'whatever says enough by itself')
  t.match(explain(new Error('boom')), /cannot start: boom/)
  t.match(explain({ code: 'EFAIL', message: '' }), /cannot start: EFAIL/)
  t.match(explain('odd'), /cannot start: odd/)
})

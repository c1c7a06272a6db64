import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { startCommandLine } from '../helpers/command-line.ts'
import { createDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/service.ts'
import { createSigner } from '../helpers/signer.ts'

interface Check {
  name: string
  status: string
  detail: string
  remedy?: string
}

const byName = (checks: Check[]) => Object.fromEntries(checks.map(({ name, ...check }) => [name, check]))

/** The doctor beside a running service. */
async function start(t: Parameters<typeof startService>[0], more: Record<string, string> = {}) {
  const service = await startService(t)
  const commandLine = await startCommandLine(
    t,
    {},
    {
      DATABASE_URL: service.database.url,
      CLERK_ISSUER: service.clerk.issuer,
      CLERK_API_URL: service.clerk.apiUrl,
      CLERK_SECRET_KEY: service.clerk.secretKey,
      CLERK_WEBHOOK_SIGNING_SECRET: service.clerk.webhookSecret,
      CLERK_AUTHORIZED_PARTIES: 'http://localhost:5173',
      ...more,
    },
  )
  const examine = async (...args: string[]) => {
    const { code, json } = await commandLine.run('doctor', '--url', `${service.url}/`, '--json', ...args)
    return { code, checks: byName(json.checks), failed: json.failed }
  }
  return { ...service, ...commandLine, clerk: service.clerk, database: service.database, examine }
}

test('doctor: everything is fine, then each check fails', async (t) => {
  const { clerk, database, run, url, examine } = await start(t)
  clerk.createUser()
  await clerk.webhooks.idle()
  const well = await run('doctor', '--url', url)
  t.equal(well.code, 0, well.output)
  t.match(well.output, /All checks passed/)
  for (const name of ['settings', 'secret key', 'signing secret', 'authorized parties', 'database', 'migrations']) {
    t.match(well.output, new RegExp(`^pass +${name} `, 'm'))
  }
  t.match(well.output, /^pass +webhook delivery +the service accepts a delivery signed with this secret/m)
  t.notMatch(well.output, clerk.secretKey)
  t.notMatch(well.output, clerk.webhookSecret.slice(6))

  clerk.webhooks.enabled = false
  clerk.createUser()
  await database.query(`update webhook_events set received_at = now() - interval '2 days' where type like 'user.%'`)
  await database.query(`insert into webhook_events (id, type, outcome, received_at)
    values ('msg_f', 'user.updated', 'failed', now() - interval '3 days')`)
  const ill = await examine()
  t.equal(ill.code, 0, 'warnings only')
  t.match(ill.checks, {
    drift: { status: 'warn', detail: '1 of the 2 users that changed last at Clerk', remedy: /reconcile/ },
    'last webhook': { status: 'warn', detail: '48 hours ago' },
    'failed events': { status: 'warn', remedy: /replay/ },
    service: { status: 'warn', detail: /degraded .*failed events are waiting/ },
  })
})

test('each problem has a line with its remedy', async (t) => {
  const other = await startCommandLine(t)
  const { examine, clerk, database } = await start(t, {
    CLERK_SECRET_KEY: other.clerk.secretKey,
    CLERK_API_URL: other.clerk.apiUrl,
    CLERK_WEBHOOK_SIGNING_SECRET: `whsec_${Buffer.from('another secret of more bytes').toString('base64')}`,
    CLERK_AUTHORIZED_PARTIES: '',
    CLERK_PUBLISHABLE_KEY: `pk_test_${Buffer.from('other.clerk.accounts.dev$').toString('base64')}`,
  })
  const mixed = await examine()
  t.equal(mixed.code, 1)
  t.match(mixed.checks, {
    'Backend API': { status: 'fail', detail: String },
    'webhook delivery': { status: 'fail', detail: /400 WEBHOOK_SIGNATURE_INVALID/, remedy: /another CLERK_WEBHOOK/ },
    'last webhook': { status: 'warn', detail: 'none has been received' },
    'authorized parties': { status: 'warn' },
    'publishable key': {
      status: 'warn',
      detail: /^of https:\/\/other\.clerk\.accounts\.dev, but CLERK_ISSUER is http:/,
    },
    'keys (JWKS)': { status: 'pass' },
  })

  clerk.faults.jwks = {
    status: 200,
    headers: { 'content-type': 'application/json', date: 'Fri, 02 Jan 2026 03:04:05 GMT' },
    body: '{}',
  }
  other.clerk.faults.api = 'error'
  await database.query(
    'drop table sync_state; delete from clerk_session_sync_migrations where id = (select max(id) from clerk_session_sync_migrations)',
  )
  const worse = await examine()
  t.match(worse.checks, {
    migrations: { status: 'fail', detail: /not applied: \d+_\w+/, remedy: /migrate/ },
    'keys (JWKS)': { status: 'fail', detail: /^none at/ },
    clock: { status: 'fail', detail: /this host's clock minus Clerk's is \d+ s/ },
    'Backend API': { status: 'fail', detail: /status 500/ },
  })
  const wrongKey = await start(t, { CLERK_SECRET_KEY: 'sk_test_wrong' })
  t.match((await wrongKey.examine()).checks['Backend API'], {
    status: 'fail',
    detail: /401/,
    remedy: /copy CLERK_SECRET_KEY/,
  })
  clerk.faults.jwks = 'error'
  const worst = await examine('--url', 'http://127.0.0.1:1')
  t.match(worst.checks, {
    'keys (JWKS)': { status: 'fail', detail: /status 500/ },
    service: { status: 'fail', detail: /^http:\/\/127.0.0.1:1: /, remedy: /--url/ },
  })
})

test('another server at the URL is reported as such', async (t) => {
  const { examine } = await start(t)
  for (const body of [
    '<h1>hello</h1>',
    '{"status":"ok"}',
    '{}',
    'null',
    '{"status":"fine","checks":{"database":{}}}',
  ]) {
    const server = createServer((_request, response) => response.end(body))
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const { checks } = await examine('--url', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    server.close()
    t.match(checks.service, { status: 'fail', detail: /is not clerk-session-sync/, remedy: /--url/ }, body)
    t.notOk('webhook delivery' in checks, 'and gets no test delivery')
  }
})

test('an empty table is filled by a backfill, not compared', async (t) => {
  const { examine, clerk } = await start(t)
  clerk.webhooks.url = undefined
  clerk.createUser()
  t.match((await examine()).checks.drift, {
    status: 'warn',
    detail: /^of the 1 user that changed last at Clerk, none has a row here$/,
    remedy: /backfill/,
  })
})

test('bad settings and databases are reported', async (t) => {
  const broken = await startCommandLine(t, {}, { PORT: 'x', CLERK_ISSUER: '' })
  const settings = await broken.run('doctor', '--json')
  t.equal(settings.code, 1)
  t.equal(settings.json.checks.length, 2)
  t.match(settings.json.checks, [
    { name: 'settings', status: 'fail', detail: /^PORT is wrong/ },
    { name: 'settings', status: 'fail', detail: /^CLERK_ISSUER is missing/ },
  ])
  const empty = await createDatabase(t, { isEmpty: true })
  const unmigrated = await startCommandLine(
    t,
    {},
    {
      DATABASE_URL: empty.url,
      CLERK_SECRET_KEY: '',
      CLERK_WEBHOOK_SIGNING_SECRET: '',
      HOST: '0.0.0.0',
      PORT: '1',
    },
  )
  const { json } = await unmigrated.run('doctor', '--json')
  t.match(byName(json.checks), {
    migrations: { status: 'fail' },
    'secret key': { status: 'warn', detail: /not set/ },
    'signing secret': { status: 'warn' },
    service: { status: 'fail', detail: /^http:\/\/127.0.0.1:1:/ },
  })
  const local = await startCommandLine(t, {}, { HOST: '::1', PORT: '1' })
  t.match(byName((await local.run('doctor', '--json')).json.checks).service, { detail: /^http:..\[::1\]:1: / })
  const away = await startCommandLine(t, {}, { DATABASE_URL: 'postgres://u:p@127.0.0.1:1/d' })
  t.match(byName((await away.run('doctor', '--json')).json.checks).database, { status: 'fail', detail: /ECONNREFUSED/ })
})

test('a token is explained claim by claim, and never shown', async (t) => {
  const { clerk, run, database } = await start(t)
  const ada = clerk.createUser()
  const session = clerk.signIn(ada.id)
  await clerk.webhooks.idle()
  const explain = async (token: string) => {
    const { code, json, output } = await run('doctor', '--json', '--token', token)
    t.notMatch(output, token.split('.')[2] ?? token)
    return { code, checks: byName(json.checks) }
  }
  const good = await explain(clerk.sessionToken(session.id))
  t.equal(good.code, 0)
  t.match(good.checks, {
    'header alg': { status: 'pass', detail: '"RS256"' },
    signature: { status: 'pass' },
    'claim iss': { status: 'pass', detail: JSON.stringify(clerk.issuer) },
    'claim azp': { status: 'pass' },
    'claim sub': { status: 'pass', detail: `"${ada.id}"` },
    user: { status: 'pass' },
    session: { status: 'pass', detail: 'active' },
  })

  const signer = createSigner()
  const now = Math.floor(Date.now() / 1_000)
  const bad = await explain(
    signer.sign(
      { alg: 'HS256', typ: 'JWT', kid: signer.kid, cat: 'cl_B7d4PD222AAA' },
      {
        iss: 'https://evil.example',
        azp: 'https://evil.example',
        sub: 'client_1',
        exp: now - 100,
        nbf: now + 100,
        sts: 'pending',
      },
    ),
  )
  t.equal(bad.code, 1)
  t.match(bad.checks, {
    'header alg': { status: 'fail', detail: /"HS256": its header has a wrong alg/ },
    'header cat': { status: 'fail', detail: /JWT template/ },
    'header kid': { status: 'fail', detail: 'not a key of the issuer' },
    'claim iss': { status: 'fail', detail: /wrong iss/ },
    'claim azp': { status: 'fail', detail: /wrong azp/ },
    'claim sub': { status: 'fail', detail: /wrong sub/ },
    expired: { status: 'fail', detail: /TOKEN_EXPIRED/ },
    'not yet valid': { status: 'fail' },
    'claim sts': { status: 'fail', detail: /SESSION_PENDING/ },
  })
  t.match(bad.checks, {
    'claim iss': { remedy: /^if "https:\/\/evil\.example" is your Clerk instance, set CLERK_ISSUER/ },
    'claim azp': { remedy: /add it to CLERK_AUTHORIZED_PARTIES/ },
    'header cat': { remedy: /CLERK_JWT_TEMPLATES/ },
  })
  const { azp: _, ...claims } = JSON.parse(
    Buffer.from(clerk.sessionToken(session.id).split('.')[1] ?? '', 'base64url').toString(),
  )
  t.match((await explain(signer.sign({}, claims))).checks['claim azp'], { remedy: /CLERK_AZP_OPTIONAL/ })
  for (const pasted of ['Bearer %', 'Authorization: Bearer %', '"%"', ' %\n', 'authorization: bearer %']) {
    const { code } = await explain(pasted.replace('%', clerk.sessionToken(session.id)))
    t.equal(code, 0, pasted)
  }
  t.match((await explain('no token')).checks, { token: { status: 'fail' } })
  const { checks: forged } = await explain(clerk.sessionToken(session.id).replace(/\.[^.]+$/, `.${'A'.repeat(342)}`))
  t.match(forged, { signature: { status: 'fail', detail: /not made with the key/ } })
  t.match((await explain(signer.sign({}, { exp: now }))).checks, {
    'header alg': { status: 'fail', detail: 'missing: missing' },
    'claim iss': { status: 'fail', detail: /^missing: / },
    'claim sub': { status: 'fail' },
  })

  clerk.endSession(session.id)
  await clerk.webhooks.idle()
  t.match((await explain(clerk.sessionToken(session.id))).checks.session, { status: 'fail', detail: /SESSION_REVOKED/ })
  for (const [change, detail] of [
    ['deprovisioned = true', /USER_DEPROVISIONED/],
    ['banned = true', /USER_BANNED/],
    ['deleted_at = now()', /USER_DELETED/],
  ] as const) {
    await database.query(`update users set ${change}`)
    t.match((await explain(clerk.sessionToken(session.id))).checks.user, { status: 'fail', detail })
  }
  await database.query('delete from users; delete from sessions')
  t.match((await explain(clerk.sessionToken(session.id))).checks, {
    user: { status: 'warn', detail: 'has no row yet' },
    session: { detail: /no event about it yet/ },
  })
  clerk.faults.jwks = 'reset'
  t.match((await explain(clerk.sessionToken(session.id))).checks.signature, { status: 'warn', detail: /not checked/ })
})

test('a token is checked with a fixed key, and without a database', async (t) => {
  const { clerk, env } = await start(t)
  const token = clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)
  const file = `${t.testdir({ token })}/token`
  const fixed = await startCommandLine(
    t,
    {},
    { ...env, CLERK_JWT_KEY: clerk.jwtKey, DATABASE_URL: 'postgres://u:p@127.0.0.1:1/d' },
  )
  const { code, json } = await fixed.run('doctor', '--json', '--token', readFileSync(file, 'utf8'))
  t.equal(code, 0)
  t.match(byName(json.checks), { signature: { status: 'pass' } })
  t.notOk('user' in byName(json.checks))
  const empty = await fixed.run('doctor', '--json', '--token', '-')
  t.match(byName(empty.json.checks), { token: { status: 'fail' } }, 'nothing came by stdin')

  // By a pipe whose writer takes its time.
  const piped = fixed.startWithInput('doctor', '--json', '--token', '-')
  piped.child.stdin?.write(token.slice(0, 100))
  await sleep(2_000)
  piped.child.stdin?.end(`${token.slice(100)}\n`)
  t.equal(await piped.exit, 0, piped.output())
  t.match(byName(JSON.parse(piped.stdout()).checks), { signature: { status: 'pass' } })
})

test('with CLERK_JWT_KEY the keys of the issuer need not answer, and a foreign key is named', async (t) => {
  const { clerk, examine } = await start(t)
  const { privateKey: _, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const foreign = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const good = await start(t, {
    CLERK_JWT_KEY: clerk.jwtKey,
    CLERK_ISSUER: clerk.issuer,
    CLERK_API_URL: clerk.apiUrl,
    CLERK_SECRET_KEY: clerk.secretKey,
  })
  t.match((await good.examine()).checks, {
    'keys (CLERK_JWT_KEY)': { status: 'pass', detail: `the issuer's own (${clerk.issuer})` },
    'Backend API': { status: 'pass' },
  })
  const bad = await start(t, { CLERK_JWT_KEY: foreign })
  const named = await bad.examine()
  t.equal(named.code, 1)
  t.match(named.checks, {
    'keys (CLERK_JWT_KEY)': {
      status: 'fail',
      detail: /^not one of the 1 signing keys of http/,
      remedy: /unset CLERK_JWT_KEY/,
    },
    'Backend API': { status: 'fail', detail: /other than the issuer's/, remedy: /and CLERK_JWT_KEY from one instance/ },
  })
  clerk.faults.jwks = 'error'
  t.match((await examine()).checks['keys (JWKS)'], {
    status: 'fail',
    detail: `${clerk.issuer}/.well-known/jwks.json: status 500`,
  })
  clerk.faults.jwks = 'error'
  const { checks } = await good.examine()
  t.match(checks['keys (CLERK_JWT_KEY)'], {
    status: 'pass',
    detail: /not compared with the issuer's \(http.*jwks\.json: status 500\)/,
  })
  t.equal(checks['keys (JWKS)'], undefined)
})

test('rows are counted, whatever the statistics of PostgreSQL say', async (t) => {
  const { clerk, database, examine } = await start(t)
  clerk.createUser()
  clerk.createUser()
  await clerk.webhooks.idle()
  await database.query('select pg_stat_reset()')
  t.match((await examine()).checks.tables?.detail, /; users 2 rows, /)
  await database.query(`insert into users (id, clerk_created_at, clerk_updated_at, sync_source)
    select 'user_' || n, now(), now(), 'webhook' from generate_series(1, 10100) n`)
  t.match((await examine()).checks.tables?.detail, /; users 10,\d{3} rows, /, 'the first 10,000 at least')
})

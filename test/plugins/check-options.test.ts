import Fastify, { type FastifyInstance } from 'fastify'
import { type Test, test } from 'tap'
import clerkSessionSync, {
  clerkAuth,
  clerkChanges,
  clerkDatabase,
  clerkErrorReplies,
  clerkMetrics,
  clerkOpenapi,
  clerkPruning,
  clerkRoutes,
  clerkUserSync,
  clerkWebhooks,
  migrate,
} from '../../src/index.ts'
import catchingUp from '../../src/plugins/catching-up.ts'
import dashboard from '../../src/plugins/dashboard/index.ts'
import identity from '../../src/plugins/identity.ts'
import reconciling from '../../src/plugins/reconciling.ts'
import { createDatabase } from '../helpers/database.ts'
import { keptLogger } from '../helpers/run-log.ts'

const DATABASE = { connectionString: 'postgres://127.0.0.1:9/nowhere' }
const AUTH = { issuer: 'http://127.0.0.1:9' }
const KEY = { secretKey: 'sk_test_x' }
const SECRET = 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY='

/** The plugins that others depend on. */
async function startHost(t: Test): Promise<FastifyInstance> {
  const host = Fastify(keptLogger())
  t.teardown(() => host.close())
  await host.register(clerkDatabase, DATABASE)
  await host.register(clerkAuth, AUTH)
  await host.register(clerkUserSync)
  return host
}

// What a caller without a compiler may pass.
const CASES: [string, unknown, unknown, RegExp][] = [
  ['clerkDatabase', clerkDatabase, {}, /clerkDatabase: connectionString: expected postgres:/],
  ['clerkDatabase', clerkDatabase, { connectionString: '' }, /clerkDatabase: connectionString: expected postgres:/],
  ['clerkDatabase', clerkDatabase, { ...DATABASE, onChange: 'x' }, /clerkDatabase: onChange: expected a function/],
  ['clerkDatabase', clerkDatabase, { ...DATABASE, shema: 'x' }, /clerkDatabase: unknown option: shema\. Known: conn/],
  ['clerkAuth', clerkAuth, {}, /clerkAuth: issuer: expected Clerk's Frontend API URL/],
  ['clerkAuth', clerkAuth, { issuer: 'clerk.example.com' }, /issuer: expected Clerk's Frontend API URL/],
  ['clerkAuth', clerkAuth, { ...AUTH, authorizedPartys: [] }, /clerkAuth: unknown option: authorizedPartys/],
  [
    'clerkAuth',
    clerkAuth,
    { ...AUTH, authorizedParties: 'https://x.example' },
    /authorizedParties: expected an array of origins/,
  ],
  ['clerkAuth', clerkAuth, { ...AUTH, authorizedParties: ['x'] }, /authorizedParties: x is not an origin such as/],
  [
    'clerkAuth',
    clerkAuth,
    { ...AUTH, trustedOrigins: ['https://*.example.com'] },
    /trustedOrigins: https:.* is not an origin/,
  ],
  ['clerkUserSync', clerkUserSync, { secretKey: 'sk_test_x' }, /clerkUserSync: unknown option: secretKey/],
  ['clerkUserSync', clerkUserSync, { backendApi: {} }, /clerkUserSync: backendApi\.secretKey: expected the secret key/],
  ['clerkWebhooks', clerkWebhooks, {}, /clerkWebhooks: signingSecrets: expected an array of whsec_/],
  ['clerkWebhooks', clerkWebhooks, { signingSecrets: SECRET }, /signingSecrets: expected an array of whsec_/],
  ['clerkWebhooks', clerkWebhooks, { signingSecrets: [undefined] }, /signingSecrets\.0: expected whsec_/],
  ['clerkChanges', clerkChanges, {}, /clerkChanges: database: expected an object/],
  [
    'clerkChanges',
    clerkChanges,
    { database: DATABASE, token: 's' },
    /clerkChanges: token: expected a secret of at least 16/,
  ],
  [
    'clerkChanges',
    clerkChanges,
    { database: DATABASE, webhook: { url: 'x' } },
    /webhook\.secret: expected the signing secret/,
  ],
  ['clerkErrorReplies', clerkErrorReplies, { showDetails: true }, /clerkErrorReplies: unknown option: showDetails/],
  ['clerkMetrics', clerkMetrics, {}, /clerkMetrics: version: expected a version/],
  ['clerkOpenapi', clerkOpenapi, { version: 1 }, /clerkOpenapi: version: expected a version/],
  ['clerkPruning', clerkPruning, { retentionDays: '30' }, /clerkPruning: retentionDays: expected a number/],
  ['clerkRoutes', clerkRoutes, { corsOrigins: 'https://x.example' }, /clerkRoutes: corsOrigins: expected an array/],
  [
    'catchingUp',
    catchingUp,
    { database: DATABASE, intervalMs: 1 },
    /catchingUp: backendApi: expected an object with secretKey/,
  ],
  ['reconciling', reconciling, { database: DATABASE, backendApi: KEY }, /reconciling: intervalMs: expected a number/],
  ['identity', identity, { database: DATABASE, backendApi: KEY }, /identity: issuer: expected Clerk's/],
  ['dashboard', dashboard, { token: 'x' }, /dashboard: token: expected a secret of at least 16 characters/],
  ['the whole', clerkSessionSync, { auth: AUTH }, /clerkSessionSync: database: expected an object/],
  [
    'the whole',
    clerkSessionSync,
    { database: DATABASE, auth: AUTH, catchUp: {} },
    /clerkSessionSync: unknown option: catchUp/,
  ],
  ['the whole', clerkSessionSync, { database: DATABASE, auth: AUTH, omit: ['doc'] }, /omit\.0: expected livez, readyz/],
  [
    'the whole',
    clerkSessionSync,
    { database: DATABASE, auth: AUTH, changes: { token: 's' } },
    /token: expected a secret of at least 16/,
  ],
]

test('a missing, wrong or unknown option is an error at the start, which names it', async (t) => {
  for (const [name, plugin, options, message] of CASES) {
    const isPart = !['clerkDatabase', 'clerkAuth', 'clerkUserSync', 'the whole'].includes(name)
    const host = isPart ? await startHost(t) : Fastify(keptLogger())
    if (name === 'dashboard') await host.register(clerkMetrics, { version: '1' })
    if (name === 'clerkUserSync') {
      await host.register(clerkDatabase, DATABASE)
      await host.register(clerkAuth, AUTH)
    }
    await t.rejects(async () => void (await host.register(plugin as never, options as never)), { message })
    await host.close()
  }
})

test('the routes name the plugins that they need', async (t) => {
  const host = Fastify(keptLogger())
  t.teardown(() => host.close())
  await t.rejects(async () => void (await host.register(clerkRoutes)), {
    message: /clerkRoutes needs clerkDatabase, clerkAuth and clerkUserSync/,
  })
})

test('the whole takes its Clerk instance from auth and userSync, once in an app', async (t) => {
  const options = { database: DATABASE, auth: AUTH, userSync: { backendApi: KEY } }
  const host = Fastify(keptLogger())
  t.teardown(() => host.close())
  await host.register(clerkSessionSync, {
    ...options,
    identity: { isStrict: true },
    catchingUp: { intervalMs: 1_000 },
    reconciling: { intervalMs: 1_000, issuer: AUTH.issuer },
  })
  t.throws(
    () => host.clerkOn('user.created', { name: 'x' }, () => undefined),
    /clerkOn needs the change feed: pass changes/,
  )
  await t.rejects(async () => void (await host.register(clerkSessionSync, options)), {
    message: /already registered in this app/,
  })
  for (const [part, given, message] of [
    ['identity', { isStrict: true, issuer: 'http://127.0.0.1:10' }, /identity\.issuer differs from auth\.issuer/],
    ['catchingUp', { intervalMs: 1, issuer: 'http://127.0.0.1:10' }, /catchingUp\.issuer differs from auth\.issuer/],
  ] as const) {
    const other = Fastify(keptLogger())
    await t.rejects(async () => void (await other.register(clerkSessionSync, { ...options, [part]: given })), {
      message,
    })
    await other.close()
  }
  const keyless = Fastify(keptLogger())
  await t.rejects(
    async () =>
      void (await keyless.register(clerkSessionSync, {
        database: DATABASE,
        auth: AUTH,
        catchingUp: { intervalMs: 1 },
      })),
    { message: /catchingUp: backendApi\.secretKey: expected the secret key/ },
  )
  await keyless.close()
})

test('migrate refuses a missing address, and a schema without its name', async (t) => {
  for (const wrong of [undefined, '', {}]) {
    await t.rejects(migrate(wrong as never), { message: /^connectionString: expected postgres:/ })
  }
  await t.rejects(migrate(DATABASE.connectionString, 'auth' as never), {
    message: /expected migrate\(connectionString, \{ schema \}\)/,
  })
})

test('an app whose tables are missing or of an earlier version does not start', async (t) => {
  const { url, query } = await createDatabase(t)
  const start = async (schema?: string) => {
    const host = Fastify(keptLogger())
    t.teardown(() => host.close())
    await host.register(clerkDatabase, { connectionString: url, schema })
    await host.ready()
  }
  await start()
  await t.rejects(start('elsewhere'), {
    message:
      /^the tables in the schema "elsewhere" are missing .*: await migrate\(connectionString, \{ schema: 'elsewhere' \}\)/,
  })
  await query(
    'delete from clerk_session_sync_migrations where id = (select max(id) from clerk_session_sync_migrations)',
  )
  await t.rejects(start(), { message: /^the tables in the schema "clerk" are missing or of an earlier version/ })
})

import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { ConfigError, loadConfig } from '../src/config.ts'

const PRODUCTION = {
  NODE_ENV: 'production',
  DATABASE_URL: 'postgres://app:hunter2@db:5432/app',
  CLERK_ISSUER: 'https://clerk.example.com',
  CLERK_WEBHOOK_SIGNING_SECRET: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
}
const nowhere = { dotenvPath: '/nonexistent/.env' }

function problemsOf(environment: Record<string, string>): string[] {
  try {
    loadConfig(environment, nowhere)
  } catch (error) {
    if (error instanceof ConfigError) return [...error.problems]
    throw error
  }
  return []
}

const configOf = (environment: Record<string, string>) => loadConfig(environment, nowhere)

test('defaults are those of docs/settings.md', async (t) => {
  const config = loadConfig({}, nowhere)
  t.match(config, {
    NODE_ENV: 'development',
    PORT: 3000,
    HOST: '127.0.0.1',
    LOG_LEVEL: 'info',
    AUTO_SYNC: true,
    CLERK_API_URL: 'https://api.clerk.com',
    DATABASE_POOL_MAX: 10,
    RATE_LIMIT_PER_MINUTE: 0,
    WEBHOOK_EVENTS_RETENTION_DAYS: 30,
    TRUST_PROXY: false,
    isProduction: false,
  })
  t.strictSame(config.CORS_ORIGINS, [])
  t.ok(Object.isFrozen(config) && Object.isFrozen(config.CORS_ORIGINS))
  t.equal(loadConfig(PRODUCTION, nowhere).HOST, '0.0.0.0', 'a container listens to the outside')
})

test('production names every missing setting in one message', async (t) => {
  const problems = problemsOf({ NODE_ENV: 'production' })
  t.match(problems, [
    /^DATABASE_URL is missing/,
    /^CLERK_ISSUER is missing \(or CLERK_PUBLISHABLE_KEY/,
    /^CLERK_WEBHOOK_SIGNING_SECRET is missing/,
  ])
  t.equal(problems.length, 3)
})

const SECRETS = {
  DATABASE_URL: 'postgres://app:hunter2@db:5432/app',
  CLERK_SECRET_KEY: 'sk_test_hunter2',
  CLERK_WEBHOOK_SIGNING_SECRET: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  DASHBOARD_TOKEN: 'hunter2 is sixteen'.replaceAll(' ', '-'),
  CLERK_JWT_KEY: generateKeyPairSync('rsa', { modulusLength: 2048 })
    .publicKey.export({ type: 'spki', format: 'pem' })
    .toString()
    .trim(),
}

test('each secret may come from a file', async (t) => {
  const directory = t.testdir(Object.fromEntries(Object.entries(SECRETS).map(([name, value]) => [name, `${value}\n`])))
  const files = Object.fromEntries(Object.keys(SECRETS).map((name) => [`${name}_FILE`, join(directory, name)]))
  const production = { NODE_ENV: 'production', CLERK_ISSUER: 'https://clerk.example.com' }
  t.strictSame(loadConfig({ ...production, ...files }, nowhere), loadConfig({ ...production, ...SECRETS }, nowhere))
})

test('a secret file of another user says whose it is, and what to do', async (t) => {
  const directory = t.testdir({ locked: { secret: 'hunter2' }, secret: 'hunter2' })
  const paths = ['secret', 'locked/secret'].map((name) => join(directory, name))
  const [file = '', hidden = ''] = paths
  chmodSync(file, 0o000)
  // Root may read everything, as it may not in the container.
  const isRoot = process.geteuid?.() === 0
  // A folder that only its owner may enter hides the files of a clone in it.
  const place = isRoot ? mkdtempSync(join(tmpdir(), 'clerk-session-sync-')) : undefined
  if (place) {
    t.teardown(() => rmSync(place, { recursive: true }))
    chmodSync(place, 0o711)
    mkdirSync(join(place, 'locked'), { mode: 0o700 })
    writeFileSync(join(place, 'secret'), 'hunter2', { mode: 0o600 })
  } else chmodSync(join(directory, 'locked'), 0o000)
  const [known, entered] = place ? [join(place, 'secret'), join(place, 'locked/secret')] : [file, hidden]
  if (isRoot) process.seteuid?.(1000)
  const uid = process.geteuid?.()
  let problems: string[]
  try {
    problems = problemsOf({ ...PRODUCTION, CLERK_SECRET_KEY_FILE: known, CLERK_JWT_KEY_FILE: entered })
  } finally {
    if (isRoot) process.seteuid?.(0)
    else chmodSync(join(directory, 'locked'), 0o700)
  }
  const owner = isRoot ? 'user 0 with mode 0600' : `user ${uid} with mode 0000`
  t.strictSame(problems.toSorted(), [
    `CLERK_JWT_KEY_FILE is wrong: ${entered} cannot be read (EACCES: user ${uid} may not enter its directory)`,
    `CLERK_SECRET_KEY_FILE is wrong: ${known} cannot be read (EACCES: it belongs to ${owner}, and this process is user ${uid}: chown ${uid} the file)`,
  ])
})

test('a secret that is set twice, an empty file and a missing file are reported, without any content', async (t) => {
  const directory = t.testdir({ empty: '\n', bad: 'mysql://hunter2' })
  const at = (file: string) => join(directory, file)
  t.strictSame(
    problemsOf({
      ...PRODUCTION,
      DATABASE_URL: '',
      DATABASE_URL_FILE: at('bad'),
      CLERK_SECRET_KEY_FILE: at('nowhere'),
      CLERK_JWT_KEY_FILE: at('empty'),
      CLERK_WEBHOOK_SIGNING_SECRET_FILE: at('empty'),
    }).toSorted(),
    [
      `CLERK_JWT_KEY_FILE is wrong: ${at('empty')} is empty`,
      `CLERK_SECRET_KEY_FILE is wrong: ${at('nowhere')} cannot be read (ENOENT)`,
      'CLERK_WEBHOOK_SIGNING_SECRET_FILE is wrong: CLERK_WEBHOOK_SIGNING_SECRET is set as well — set only one of them',
      'DATABASE_URL is wrong (15 characters): expected postgres://user:password@host:5432/database — the PostgreSQL database to sync into',
    ],
  )
})

test('every bad setting is named with its remedy, and its value unless it may be a secret', async (t) => {
  const bad = {
    NODE_ENV: 'staging-hunter2',
    DATABASE_URL: 'mysql://hunter2',
    DATABASE_SCHEMA: 'hunter2; drop',
    DATABASE_POOL_MAX: '0',
    CLERK_ISSUER: 'clerk.hunter2.com',
    CLERK_PUBLISHABLE_KEY: 'hunter2',
    CLERK_JWT_KEY: 'hunter2',
    CLERK_AUTHORIZED_PARTIES: 'hunter2.example.com',
    CLERK_SECRET_KEY: 'pk_hunter2',
    CLERK_API_URL: 'hunter2',
    CLERK_API_BUDGET: 'hunter2',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'hunter2:4318',
    CLERK_WEBHOOK_SIGNING_SECRET: 'hunter2',
    WEBHOOK_EVENTS_RETENTION_DAYS: 'hunter2',
    AUTO_SYNC: 'hunter2',
    PORT: '70000',
    HOST: 'hunter2 hunter2',
    LOG_LEVEL: 'hunter2',
    CORS_ORIGINS: 'https://good.example.com,hunter2',
    TRUST_PROXY: 'hunter2',
    RATE_LIMIT_PER_MINUTE: '-1',
    METRICS_PORT: 'hunter2',
    DASHBOARD_TOKEN: 'hunter2',
  }
  const problems = problemsOf(bad)
  for (const name of Object.keys(bad)) {
    t.ok(
      problems.some((problem) => problem.startsWith(`${name} is wrong`)),
      `${name} is named`,
    )
  }
  t.equal(problems.length, Object.keys(bad).length, 'each once')
  const isShown = (name: string) => problems.some((problem) => problem.startsWith(name) && /hunter2/.test(problem))
  for (const name of [...Object.keys(SECRETS)]) t.notOk(isShown(name), `${name} is not printed`)
  t.match(problems.join('\n'), 'CLERK_ISSUER is wrong ("clerk.hunter2.com"): expected https://')
  for (const pasted of [
    'sk_live_hunter2',
    'whsec_hunter2',
    'http//u:hunter2@x ://u:hunter2@x',
    'eyJhunter2',
    `hunter2${' '.repeat(99)}x`,
  ]) {
    t.notMatch(problemsOf({ CLERK_ISSUER: pasted })[0], /hunter2/, 'a secret in the wrong place is not printed either')
  }
  for (const quoted of [`"https://clerk.example.com"`, `'https://clerk.example.com'`]) {
    t.match(problemsOf({ ...PRODUCTION, CLERK_ISSUER: quoted }), [/^CLERK_ISSUER is wrong .*: remove the quotes/])
  }
  t.match(problemsOf({ ...PRODUCTION, CLERK_SECRET_KEY: '"sk_test_hunter2 "' }), [
    /\(18 characters\): remove the quotes/,
  ])
  t.match(new ConfigError(problems).message, /^23 settings are missing or wrong:\n {2}- /)
  t.match(new ConfigError(['X is wrong']).message, /^a setting is missing or wrong:/)
})

test('rules between settings are checked', async (t) => {
  t.match(problemsOf({ ...PRODUCTION, CLERK_ISSUER: 'https://a b' }), [/^CLERK_ISSUER is wrong/])
  t.match(problemsOf({ ...PRODUCTION, DATABASE_URL: 'postgres://a:b@c:99999999/d' }), [
    /^DATABASE_URL is wrong \(\d+ characters\): not a URL/,
  ])
  t.match(problemsOf({ ...PRODUCTION, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:port' }), [
    /^OTEL_EXPORTER_OTLP_ENDPOINT is wrong \("http:\/\/collector:port"\): not a URL/,
  ])
  const { CLERK_ISSUER, ...rest } = PRODUCTION
  t.match(problemsOf({ ...rest, CLERK_PUBLISHABLE_KEY: 'pk_test_bm90YWhvc3Q' }), [
    /^CLERK_PUBLISHABLE_KEY is wrong \("pk_test_bm90YWhvc3Q"\): it does not/,
  ])
  t.match(
    problemsOf({ ...rest, CLERK_PUBLISHABLE_KEY: 'x' }),
    [/^CLERK_PUBLISHABLE_KEY is wrong/],
    'and not missing as well',
  )
  t.strictSame(problemsOf({ PORT: '3310', METRICS_PORT: '3310' }), [
    'METRICS_PORT is wrong ("3310"): it is the PORT of the service — choose another one',
  ])
  for (const bad of ['10.0.0.0/33', '10.0.0.0/0', '::1/129', '10.0.0/8', 'x/8']) {
    t.match(problemsOf({ TRUST_PROXY: bad }), [`TRUST_PROXY is wrong ("${bad}"): expected`], bad)
  }
  t.strictSame(configOf({ TRUST_PROXY: '10.0.0.0/32, fd00::/8, ::1/128' }).TRUST_PROXY, [
    '10.0.0.0/32',
    'fd00::/8',
    '::1/128',
  ])
})

test('origins are read as browsers write them, and those that can never match are an error', async (t) => {
  const names = ['CORS_ORIGINS', 'CLERK_AUTHORIZED_PARTIES'] as const
  for (const name of names) {
    const given =
      ' https://App.Example.com/,https://app.example.com:443,http://localhost:80,http://LOCALHOST:5173,https://bücher.example,capacitor://localhost,chrome-extension://AbC'
    t.strictSame(configOf({ [name]: given })[name], [
      'https://app.example.com',
      'https://app.example.com',
      'http://localhost',
      'http://localhost:5173',
      'https://xn--bcher-kva.example',
      'capacitor://localhost',
      'chrome-extension://abc',
    ])
    const bad = [
      'https://*.vercel.app',
      'https://a.example/path',
      'https://user@a.example',
      'https://a.example?x',
      'https://',
      'a.example',
      'null',
      'wss://a.example',
      'file://a',
      'https://a.example:99999',
      'https://a example',
    ]
    for (const entry of bad) {
      const [problem, ...more] = problemsOf({ [name]: `https://good.example, ${entry}` })
      t.match(problem, /^\w+ is wrong \(.*\): entry 2 can never match/, entry)
      t.strictSame(more, [])
    }
    t.match(problemsOf({ [name]: 'https://*.a, https://good.example, b' })[0], 'entries 1, 3')
  }
  t.strictSame(configOf({ CORS_ORIGINS: '*' }).CORS_ORIGINS, ['*'])
  t.match(problemsOf({ CLERK_AUTHORIZED_PARTIES: '*' })[0], 'CLERK_AUTHORIZED_PARTIES is wrong')
})

test('the issuer is derived from the publishable key', async (t) => {
  const { CLERK_ISSUER, ...rest } = PRODUCTION
  const key = `pk_live_${Buffer.from('clerk.example.com$').toString('base64')}`
  t.equal(loadConfig({ ...rest, CLERK_PUBLISHABLE_KEY: key }, nowhere).CLERK_ISSUER, 'https://clerk.example.com')
  t.equal(
    loadConfig(
      { ...PRODUCTION, CLERK_ISSUER: 'https://proxy.example.com/__clerk/', CLERK_PUBLISHABLE_KEY: key },
      nowhere,
    ).CLERK_ISSUER,
    'https://proxy.example.com/__clerk',
    'a configured issuer takes precedence, without its trailing slash',
  )
})

test('lists, secrets and keys are read as people write them', async (t) => {
  const pem = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({
    type: 'spki',
    format: 'pem',
  }) as string
  const config = loadConfig(
    {
      ...PRODUCTION,
      CLERK_JWT_KEY: pem.replaceAll('\n', '\\n'),
      CLERK_AUTHORIZED_PARTIES: ' https://app.example.com/ , chrome-extension://abc,',
      CLERK_WEBHOOK_SIGNING_SECRET: '',
      CLERK_WEBHOOK_SECRET: 'whsec_b2xkb2xkb2xkb2xkb2xkb2xk, whsec_bmV3bmV3bmV3bmV3bmV3bmV3',
      CORS_ORIGINS: '*',
      TRUST_PROXY: '10.0.0.0/8, loopback',
      AUTO_SYNC: 'false',
    },
    nowhere,
  )
  t.equal(config.CLERK_JWT_KEY, pem, 'escaped line breaks become real ones')
  t.strictSame(config.CLERK_AUTHORIZED_PARTIES, ['https://app.example.com', 'chrome-extension://abc'])
  t.strictSame(
    config.CLERK_WEBHOOK_SIGNING_SECRET,
    ['whsec_b2xkb2xkb2xkb2xkb2xkb2xk', 'whsec_bmV3bmV3bmV3bmV3bmV3bmV3'],
    'the alias, and two for a rotation',
  )
  t.strictSame(config.TRUST_PROXY, ['10.0.0.0/8', 'loopback'])
  t.equal(config.AUTO_SYNC, false)
  t.equal(loadConfig({ ...PRODUCTION, TRUST_PROXY: '2' }, nowhere).TRUST_PROXY, 2)
  t.match(problemsOf({ ...PRODUCTION, CLERK_AUTHORIZED_PARTIES: '*' }), [/^CLERK_AUTHORIZED_PARTIES is wrong/])
  t.equal(loadConfig({ ...PRODUCTION, TRUST_PROXY: 'true' }, nowhere).TRUST_PROXY, true)
  const privateKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  })
  t.match(
    problemsOf({ ...PRODUCTION, CLERK_JWT_KEY: String(privateKey) }),
    [/^CLERK_JWT_KEY is wrong/],
    'a private key has no business here',
  )
})

test('.env is read in development only, and the environment takes precedence', async (t) => {
  const path = join(t.testdir(), '.env')
  writeFileSync(path, 'PORT=4000\nLOG_LEVEL=debug\nCLERK_SECRET_KEY=\n')
  t.match(loadConfig({ LOG_LEVEL: 'warn' }, { dotenvPath: path }), {
    PORT: 4000,
    LOG_LEVEL: 'warn',
    CLERK_SECRET_KEY: undefined,
  })
  t.equal(loadConfig({ ...PRODUCTION }, { dotenvPath: path }).PORT, 3000)
  t.throws(() => loadConfig({}, { dotenvPath: t.testdirName }), { message: /cannot be read \(EISDIR\)/ })
})

test('the emulator never replaces only a part of Clerk', async (t) => {
  t.match(problemsOf({ CLERK_SECRET_KEY: 'sk_test_x' }), [/^CLERK_ISSUER is missing \(or CLERK_PUBLISHABLE_KEY/])
  t.match(problemsOf({ CLERK_WEBHOOK_SECRET: 'whsec_b2xkb2xkb2xkb2xkb2xkb2xk' }), [/^CLERK_ISSUER is missing/])
  t.strictSame(problemsOf({ CLERK_SECRET_KEY: 'sk_test_x', CLERK_ISSUER: 'https://clerk.example.com' }), [])
})

test('CHANGES_WEBHOOK_URL and CHANGES_WEBHOOK_SECRET must be set together', async (t) => {
  const url = { CHANGES_WEBHOOK_URL: 'https://app.example.com/changes' }
  const secret = { CHANGES_WEBHOOK_SECRET: `whsec_${Buffer.alloc(24, 1).toString('base64')}` }
  t.strictSame(problemsOf(url), ['CHANGES_WEBHOOK_SECRET is missing: CHANGES_WEBHOOK_URL needs it'])
  t.strictSame(problemsOf(secret), ['CHANGES_WEBHOOK_URL is missing: CHANGES_WEBHOOK_SECRET needs it'])
  t.strictSame(problemsOf({ ...url, CHANGES_WEBHOOK_SECRET: 'whsec_c2hvcnQ=' }), [
    'CHANGES_WEBHOOK_SECRET is wrong (14 characters): the key is shorter than 16 bytes',
  ])
  t.strictSame(problemsOf({ ...url, ...secret }), [])
  t.match(problemsOf({ CHANGES_TOKEN: 'short' }), [/^CHANGES_TOKEN is wrong/])
})

test('a signing secret that can be guessed is refused, and http:// to Clerk in production', (t) => {
  const short = `whsec_${Buffer.alloc(15).toString('base64')}`
  const guessed =
    /^CLERK_WEBHOOK_SIGNING_SECRET is wrong \(\d+ characters\): a secret shorter than 16 bytes can be guessed/
  t.match(problemsOf({ ...PRODUCTION, CLERK_WEBHOOK_SIGNING_SECRET: short }), [guessed])
  const whole = `whsec_${Buffer.alloc(16).toString('base64')}`
  t.strictSame(problemsOf({ ...PRODUCTION, CLERK_WEBHOOK_SIGNING_SECRET: whole }), [])
  t.match(problemsOf({ ...PRODUCTION, CLERK_WEBHOOK_SIGNING_SECRET: `${whole},${short}` }), [guessed], 'each of them')

  const open = { ...PRODUCTION, CLERK_ISSUER: 'http://clerk.example.com' }
  t.strictSame(problemsOf(open), [
    'CLERK_ISSUER is wrong ("http://clerk.example.com"): in production it must start with https:// (http:// only for loopback)',
  ])
  t.strictSame(problemsOf({ ...PRODUCTION, CLERK_ISSUER: 'http://127.0.0.1:9' }), [])
  t.end()
})

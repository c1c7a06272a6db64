/**
 * The settings: one TypeBox schema turns the environment into a frozen `Config`. Only `server.ts` and `cli/index.ts` import
 * this file; everything else receives options.
 */
import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { envSchema } from 'env-schema'
import { normalizeOrigin } from './domain/origin.ts'
import { readSecretFiles } from './secret-files.ts'
import {
  databaseUrlFault,
  hasCredentials,
  isPrivate,
  isQuoted,
  isRsaPublicKey,
  issuerOf,
  shownValue,
  split,
  toPem,
  trimSlash,
  trustProxy,
} from './setting-values.ts'
import { MIN_KEY_BYTES, signingKey } from './sign-webhook.ts'

const Maybe = <T extends TSchema>(schema: T) => Type.Optional(schema)
// Error messages show both: `title` is the expected form of the value, `description` says where to find it or what it does.
const Text = (title: string, description: string, pattern?: string) => Type.String({ title, description, pattern })
const Flag = (description: string, initial: boolean) =>
  Type.Boolean({ title: 'true or false', description, default: initial })
const Count = (description: string, minimum: number, maximum: number, initial?: number) =>
  Type.Integer({
    title: `a whole number from ${minimum} to ${maximum}`,
    description,
    minimum,
    maximum,
    default: initial,
  })

// Complete Base64, including padding, so that a secret that was only partly pasted is rejected.
const SECRET = 'whsec_([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})'

const Settings = Type.Object({
  NODE_ENV: Type.Union([Type.Literal('development'), Type.Literal('test'), Type.Literal('production')], {
    title: 'development, test or production',
    description: 'unset means development',
    default: 'development',
  }),
  DATABASE_URL: Maybe(
    Text(
      'postgres://user:password@host:5432/database',
      'the PostgreSQL database to sync into',
      '^(postgres(ql)?://.|socket:.|/.)',
    ),
  ),
  DATABASE_SCHEMA: Type.String({
    title: 'lower-case letters, digits and _, such as clerk',
    description: 'the schema of the tables, created if it does not exist',
    pattern: '^[a-z_][a-z0-9_]{0,62}$',
    default: 'clerk',
  }),
  DATABASE_POOL_MAX: Count('the largest number of connections to PostgreSQL', 1, 1000, 10),
  DATABASE_TRANSACTION_POOLING: Flag('turns prepared statements off, for a pooler that does not support them', false),
  CLERK_ISSUER: Maybe(
    Text(
      'https://<your-instance>.clerk.accounts.dev',
      'Clerk Dashboard, API keys: the Frontend API URL',
      '^https?://[^/\\s]',
    ),
  ),
  CLERK_PUBLISHABLE_KEY: Maybe(
    Text(
      'pk_test_… or pk_live_…',
      'Clerk Dashboard, API keys: the publishable key',
      '^pk_(test|live)_[A-Za-z0-9+/=_-]+$',
    ),
  ),
  CLERK_JWT_KEY: Maybe(Text('-----BEGIN PUBLIC KEY-----…', 'Clerk Dashboard, API keys: the JWKS public key (PEM)')),
  CLERK_AUTHORIZED_PARTIES: Type.String({
    title: 'https://app.example.com,https://…',
    description: 'the origins of your front ends, comma-separated',
    default: '',
  }),
  CLERK_AZP_OPTIONAL: Flag('accepts bearer tokens without an azp claim', false),
  CLERK_JWT_TEMPLATES: Flag('accepts tokens made from JWT templates', false),
  CLERK_SECRET_KEY: Maybe(
    Text('sk_test_… or sk_live_…', 'Clerk Dashboard, API keys: the secret key', '^sk_[\\x21-\\x7e]+$'),
  ),
  CLERK_API_URL: Type.String({
    title: 'https://api.clerk.com',
    description: "Clerk's Backend API",
    pattern: '^https?://[^/\\s]',
    default: 'https://api.clerk.com',
  }),
  CLERK_API_BUDGET: Maybe(
    Type.Integer({
      title: 'a whole number from 0 to 1000000',
      description:
        "the most requests to Clerk's Backend API per 10 s that on-demand user syncs may make; jobs do not count",
      minimum: 0,
      maximum: 1_000_000,
    }),
  ),
  CLERK_WEBHOOK_SIGNING_SECRET: Maybe(
    Text(
      'whsec_…, or several, comma-separated',
      'Clerk Dashboard, Webhooks, your endpoint: the signing secret',
      `^\\s*${SECRET}\\s*(,\\s*${SECRET}\\s*)*,?\\s*$`,
    ),
  ),
  WEBHOOK_STORE_PAYLOADS: Flag('keeps the payloads of applied events, which contain personal data', false),
  WEBHOOK_EVENTS_RETENTION_DAYS: Count('days after which events are deleted from the ledger', 1, 3650, 30),
  CATCH_UP_INTERVAL_SECONDS: Maybe(
    Count('seconds between two catch-ups, which ask Clerk what changed last; 0 turns them off', 0, 86_400),
  ),
  RECONCILE_INTERVAL_MINUTES: Count(
    'minutes between two reconciles, which repair drift from Clerk; 0 turns them off',
    0,
    35_000,
    0,
  ),
  CHANGES: Flag('turns the change feed on', false),
  CHANGES_TOKEN: Maybe(
    Text(
      '16 characters or more, without spaces',
      'the bearer token of GET /api/changes; generate one with: openssl rand -hex 24',
      '^[\\x21-\\x7e]{16,}$',
    ),
  ),
  CHANGES_WEBHOOK_URL: Maybe(Text('https://…', 'the URL that the change feed is pushed to', '^https?://[^/\\s]')),
  CHANGES_WEBHOOK_SECRET: Maybe(
    Text(
      'whsec_ and 24 bytes or more in base64',
      'signs the pushed changes; generate one with: echo "whsec_$(openssl rand -base64 32)"',
      `^${SECRET}$`,
    ),
  ),
  CHANGES_RETENTION_DAYS: Count('days after which changes are deleted from the change feed', 1, 365, 7),
  SYNC_METADATA: Type.String({
    title: 'unsafe, private, or both, comma-separated',
    description: 'the metadata of users to store in addition to the public metadata; empty for none',
    pattern: '^\\s*((unsafe|private)\\s*(,\\s*(unsafe|private)\\s*)*,?\\s*)?$',
    default: '',
  }),
  AUTO_SYNC: Flag('syncs a user without a row on any authenticated call', true),
  PORT: Count('the port to listen on; 0 for any free port', 0, 65_535, 3000),
  HOST: Maybe(Text('0.0.0.0 or 127.0.0.1', 'the address to listen on', '^\\S+$')),
  LOG_LEVEL: Type.Union(
    (['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const).map((level) => Type.Literal(level)),
    { title: 'fatal, error, warn, info, debug, trace or silent', description: 'how much to log', default: 'info' },
  ),
  CORS_ORIGINS: Type.String({
    title: 'https://app.example.com,https://… or *',
    description: 'the origins whose pages may call the API; empty turns CORS off',
    default: '',
  }),
  TRUST_PROXY: Type.String({
    title: 'true, false, comma-separated addresses of proxies, or a number of proxies',
    description: 'the proxies whose X-Forwarded-* headers are trusted',
    default: 'false',
  }),
  METRICS_PORT: Maybe(
    Type.Integer({
      title: 'a port number',
      description: 'a separate port for the metrics',
      minimum: 1,
      maximum: 65_535,
    }),
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: Maybe(
    Text(
      'http://collector:4318',
      'the OpenTelemetry collector that receives the traces over HTTP',
      '^https?://[^/\\s]',
    ),
  ),
  DASHBOARD_TOKEN: Maybe(
    Text(
      '16 characters or more, without spaces',
      'the bearer token of /dashboard; generate one with: openssl rand -hex 24',
      '^[\\x21-\\x7e]{16,}$',
    ),
  ),
  RATE_LIMIT_PER_MINUTE: Count('requests per minute for each user or address; 0 turns the limit off', 0, 1_000_000, 0),
})
type Settings = Static<typeof Settings>

/** The settings as the service uses them: lists split, the issuer derived, escapes resolved. */
export interface Config
  extends Readonly<
    Omit<
      Settings,
      | 'HOST'
      | 'CLERK_AUTHORIZED_PARTIES'
      | 'CLERK_WEBHOOK_SIGNING_SECRET'
      | 'CORS_ORIGINS'
      | 'TRUST_PROXY'
      | 'SYNC_METADATA'
      | 'CATCH_UP_INTERVAL_SECONDS'
    >
  > {
  readonly HOST: string
  readonly CLERK_AUTHORIZED_PARTIES: readonly string[]
  readonly CLERK_WEBHOOK_SIGNING_SECRET: readonly string[]
  readonly CORS_ORIGINS: readonly string[]
  readonly SYNC_METADATA: readonly ('unsafe' | 'private')[]
  readonly TRUST_PROXY: boolean | number | string[]
  readonly CATCH_UP_INTERVAL_SECONDS: number
  readonly isProduction: boolean
}

/** Lists every wrong or missing setting with its fault and remedy, and never shows a value that may be a secret. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: string[]) {
    const settings = problems.length === 1 ? 'a setting is' : `${problems.length} settings are`
    super(`${settings} missing or wrong:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`)
    this.problems = problems
  }
}

type Environment = Record<string, string | undefined>

const SERVICE_SETTINGS = ['DATABASE_URL', 'CLERK_ISSUER', 'CLERK_WEBHOOK_SIGNING_SECRET'] as const
const CLERK_SETTINGS = ['CLERK_JWT_KEY', 'CLERK_SECRET_KEY', 'CLERK_WEBHOOK_SIGNING_SECRET']
type RequiredSetting = (typeof SERVICE_SETTINGS)[number] | 'CLERK_SECRET_KEY'

export interface LoadOptions {
  dotenvPath?: string
  /** The settings that must be set; by default those that the service needs in production, and none elsewhere. */
  required?: readonly RequiredSetting[]
}

/**
 * Reads the settings. In development `.env` is read too; the environment takes precedence. An empty value counts as unset. A
 * secret may be in a file that `<name>_FILE` names.
 * @throws ConfigError that names every wrong setting
 */
export function loadConfig(environment: Environment, { dotenvPath = '.env', required }: LoadOptions = {}): Config {
  const isDevelopment = (environment.NODE_ENV || 'development') === 'development'
  const data = withoutEmpty({ ...(isDevelopment && readDotenv(dotenvPath)), ...withoutEmpty(environment) })
  data.CLERK_WEBHOOK_SIGNING_SECRET ??= data.CLERK_WEBHOOK_SECRET
  const problems = new Map<string, string>()
  readSecretFiles(data, problems)
  const known = Object.keys(Settings.properties) as (keyof Settings)[]
  const picked = Object.fromEntries(known.filter((name) => data[name] !== undefined).map((name) => [name, data[name]]))

  const settings = validate(picked, problems)
  checkBeyondSchema(settings, problems)
  const isProduction = settings.NODE_ENV === 'production'
  // Outside production the emulator replaces Clerk, but only if no setting of a real instance is set.
  const hasClerk = CLERK_SETTINGS.some((name) => picked[name] !== undefined)
  checkRequired(settings, required ?? (isProduction ? SERVICE_SETTINGS : hasClerk ? ['CLERK_ISSUER'] : []), problems)
  if (problems.size > 0) throw new ConfigError([...problems.values()])

  return Object.freeze({
    ...settings,
    HOST: settings.HOST ?? (settings.NODE_ENV === 'production' ? '0.0.0.0' : '127.0.0.1'),
    CLERK_ISSUER: trimSlash(settings.CLERK_ISSUER) ?? issuerOf(settings.CLERK_PUBLISHABLE_KEY),
    CLERK_JWT_KEY: settings.CLERK_JWT_KEY && toPem(settings.CLERK_JWT_KEY),
    CLERK_AUTHORIZED_PARTIES: Object.freeze(split(settings.CLERK_AUTHORIZED_PARTIES).map(toOrigin)),
    CLERK_WEBHOOK_SIGNING_SECRET: Object.freeze(split(settings.CLERK_WEBHOOK_SIGNING_SECRET ?? '')),
    SYNC_METADATA: Object.freeze(split(settings.SYNC_METADATA) as ('unsafe' | 'private')[]),
    CORS_ORIGINS: Object.freeze(split(settings.CORS_ORIGINS).map(toOrigin)),
    TRUST_PROXY: trustProxy(settings.TRUST_PROXY) as Config['TRUST_PROXY'],
    CATCH_UP_INTERVAL_SECONDS:
      settings.CATCH_UP_INTERVAL_SECONDS ?? (settings.CLERK_SECRET_KEY ? (isProduction ? 60 : 5) : 0),
    isProduction,
  })
}

const toOrigin = (entry: string) => normalizeOrigin(entry) ?? entry

function withoutEmpty(environment: Environment): Environment {
  return Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value.trim() !== ''),
  )
}

function readDotenv(path: string): Environment {
  try {
    return parseEnv(readFileSync(path, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new ConfigError([`${path}: cannot be read (${(error as NodeJS.ErrnoException).code})`])
  }
}

function validate(data: Environment, problems: Map<string, string>): Settings {
  try {
    return envSchema<Settings>({ schema: structuredClone(Settings), data: { ...data }, env: false })
  } catch (error) {
    for (const { instancePath } of (error as { errors: { instancePath: string }[] }).errors) {
      const name = instancePath.slice(1) as keyof Settings
      const { title, description } = Settings.properties[name] as TSchema
      const value = data[name] as string
      const shape = shownValue(name, value)
      problems.set(
        name,
        isQuoted(value)
          ? `${name} is wrong (${shape}): remove the quotes around its value`
          : `${name} is wrong (${shape}): expected ${title} — ${description}`,
      )
    }
    // Leaves the wrong settings out, so that the further checks can report theirs too.
    const good = Object.fromEntries(Object.entries(data).filter(([name]) => !problems.has(name)))
    return envSchema<Settings>({ schema: structuredClone(Settings), data: good, env: false })
  }
}

const keyBytes = (secret: string) => signingKey(secret).length

const URL_SETTINGS = ['CLERK_ISSUER', 'CLERK_API_URL', 'CHANGES_WEBHOOK_URL', 'OTEL_EXPORTER_OTLP_ENDPOINT'] as const

function checkUrls(settings: Settings, wrong: (name: keyof Settings, what: string) => void): void {
  for (const name of URL_SETTINGS) {
    const value = settings[name]
    if (value === undefined) continue
    const isOfClerk = name === 'CLERK_ISSUER' || name === 'CLERK_API_URL'
    if (!URL.canParse(value)) wrong(name, 'not a URL')
    else if (isOfClerk && hasCredentials(value))
      wrong(name, 'it contains a user name or password, which Clerk does not use')
    else if (isOfClerk && settings.NODE_ENV === 'production' && !isPrivate(value)) {
      wrong(name, 'in production it must start with https:// (http:// only for loopback)')
    }
  }
}

function checkBeyondSchema(settings: Settings, problems: Map<string, string>): void {
  const wrong = (name: keyof Settings, what: string) =>
    problems.set(name, `${name} is wrong (${shownValue(name, String(settings[name]))}): ${what}`)
  const fault = settings.DATABASE_URL && databaseUrlFault(settings.DATABASE_URL)
  if (fault) wrong('DATABASE_URL', fault)
  checkUrls(settings, wrong)
  if (split(settings.CLERK_WEBHOOK_SIGNING_SECRET ?? '').some((secret) => keyBytes(secret) < MIN_KEY_BYTES)) {
    wrong(
      'CLERK_WEBHOOK_SIGNING_SECRET',
      `a secret shorter than ${MIN_KEY_BYTES} bytes can be guessed — copy it again from Clerk`,
    )
  }
  if (settings.CLERK_PUBLISHABLE_KEY && !issuerOf(settings.CLERK_PUBLISHABLE_KEY)) {
    wrong('CLERK_PUBLISHABLE_KEY', 'it does not encode a host name — copy it again from the Clerk Dashboard, API keys')
  }
  if (settings.CLERK_JWT_KEY && !isRsaPublicKey(settings.CLERK_JWT_KEY)) {
    wrong('CLERK_JWT_KEY', 'not an RSA public key in PEM form; line breaks may be written as \\n')
  }
  for (const [name, other] of [
    ['CHANGES_WEBHOOK_URL', 'CHANGES_WEBHOOK_SECRET'],
    ['CHANGES_WEBHOOK_SECRET', 'CHANGES_WEBHOOK_URL'],
  ] as const) {
    if (settings[other] !== undefined && settings[name] === undefined && !problems.has(name)) {
      problems.set(name, `${name} is missing: ${other} needs it`)
    }
  }
  if (settings.CHANGES_WEBHOOK_SECRET && keyBytes(settings.CHANGES_WEBHOOK_SECRET) < MIN_KEY_BYTES) {
    wrong('CHANGES_WEBHOOK_SECRET', `the key is shorter than ${MIN_KEY_BYTES} bytes`)
  }
  if (trustProxy(settings.TRUST_PROXY) === undefined) {
    wrong('TRUST_PROXY', 'expected true, false, comma-separated addresses of proxies, or a number of proxies')
  }
  if (settings.METRICS_PORT !== undefined && settings.METRICS_PORT === settings.PORT) {
    wrong('METRICS_PORT', 'it is the PORT of the service — choose another one')
  }
  for (const name of ['CLERK_AUTHORIZED_PARTIES', 'CORS_ORIGINS'] as const) {
    const isGood = (entry: string) => (entry === '*' && name === 'CORS_ORIGINS') || normalizeOrigin(entry) !== undefined
    const bad = split(settings[name]).flatMap((entry, index) => (isGood(entry) ? [] : [index + 1]))
    if (bad.length > 0) {
      const which = `${bad.length === 1 ? 'entry' : 'entries'} ${bad.join(', ')}`
      wrong(name, `${which} can never match: an origin has the form https://app.example.com, without path or wildcard`)
    }
  }
}

function checkRequired(settings: Settings, required: readonly RequiredSetting[], problems: Map<string, string>): void {
  for (const name of required) {
    const isDerived =
      name === 'CLERK_ISSUER' && (settings.CLERK_PUBLISHABLE_KEY ?? problems.get('CLERK_PUBLISHABLE_KEY'))
    if (settings[name] || isDerived || problems.has(name)) continue
    const or = name === 'CLERK_ISSUER' ? ' (or CLERK_PUBLISHABLE_KEY, from which it is derived)' : ''
    const { title, description } = Settings.properties[name] as TSchema
    problems.set(name, `${name} is missing${or}: expected ${title} — ${description}`)
  }
}

/** Settings, migrations, listen. Without Clerk's keys it runs on the local emulator, which needs no account. */
import { fileURLToPath } from 'node:url'
import { migrate as migrateClerk } from 'clerk-session-sync'
import { createClerkEmulator } from 'clerk-session-sync/testing'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import { buildApp, type Options } from './app.ts'

const { DATABASE_URL, CLERK_PUBLISHABLE_KEY, CLERK_SECRET_KEY, CLERK_WEBHOOK_SIGNING_SECRET } = process.env
const { HOST = '127.0.0.1', PORT = '4000', EMULATOR_PORT = '4001' } = process.env
const origins = [`http://127.0.0.1:${PORT}`, `http://localhost:${PORT}`]

if (!DATABASE_URL) throw new Error('DATABASE_URL is missing: npm run up starts a PostgreSQL by Docker')
// The service's tables first: the application's foreign keys need them.
await migrateClerk(DATABASE_URL)
const db = drizzle(DATABASE_URL)
await migrate(db, { migrationsFolder: fileURLToPath(new URL('../migrations', import.meta.url)) })
await db.$client.end()

const app = await buildApp({
  databaseUrl: DATABASE_URL,
  ...(CLERK_PUBLISHABLE_KEY ? realClerk() : await emulatedClerk()),
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close())
await app.listen({ host: HOST, port: Number(PORT) })

function realClerk(): Omit<Options, 'databaseUrl'> {
  const publishableKey = CLERK_PUBLISHABLE_KEY as string
  // The last part of the key is the host of the issuer.
  const host = Buffer.from(publishableKey.split('_')[2] ?? '', 'base64')
    .toString()
    .replace(/\$$/, '')
  return {
    signIn: { publishableKey },
    clerk: {
      auth: { issuer: `https://${host}`, publishableKey, authorizedParties: origins },
      ...(CLERK_SECRET_KEY && { userSync: { backendApi: { secretKey: CLERK_SECRET_KEY } } }),
      ...(CLERK_WEBHOOK_SIGNING_SECRET && { webhooks: { signingSecrets: [CLERK_WEBHOOK_SIGNING_SECRET] } }),
    },
  }
}

async function emulatedClerk(): Promise<Omit<Options, 'databaseUrl'>> {
  const emulator = await createClerkEmulator({
    port: Number(EMULATOR_PORT),
    webhookUrl: `http://127.0.0.1:${PORT}/clerk`,
    allowedOrigins: origins,
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void emulator.close())
  return {
    signIn: { emulatorUrl: emulator.url },
    clerk: {
      auth: { issuer: emulator.issuer },
      userSync: { backendApi: { secretKey: emulator.secretKey, apiUrl: emulator.apiUrl } },
      webhooks: { signingSecrets: [emulator.webhookSecret] },
    },
  }
}

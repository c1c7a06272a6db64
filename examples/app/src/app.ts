/** The application: the service mounted as one plugin, its own routes beside it, and the built page. */
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import clerkSessionSync, { type AppOptions, clerkErrorReplies } from 'clerk-session-sync'
import { drizzle } from 'drizzle-orm/node-postgres'
import Fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import orders from './orders.ts'

export interface Options {
  databaseUrl: string
  clerk: Omit<AppOptions, 'database'>
  /** What the page must know to sign in. */
  signIn: { publishableKey: string } | { emulatorUrl: string }
}

export async function buildApp({ databaseUrl, clerk, signIn }: Options): Promise<FastifyInstance> {
  const app = Fastify({ logger: true })
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 5 })
  pool.on('error', (err) => app.log.warn({ err }, 'an idle connection was lost'))
  app.addHook('onClose', () => pool.end())

  // The application's own routes answer errors in the same shape.
  await app.register(clerkErrorReplies)
  await app.register(clerkSessionSync, { ...clerk, database: { connectionString: databaseUrl } })
  await app.register(orders, { prefix: '/api/orders', db: drizzle(pool) })
  app.get('/api/sign-in', async () => signIn)
  await app.register(fastifyStatic, { root: fileURLToPath(new URL('../web/dist', import.meta.url)) })
  return app
}

/** The routes that front ends call, as one plugin, for an application that registers single plugins instead of the whole service. */
import type { FastifyPluginAsync } from 'fastify'
import { checkOptions, flag, optional, optionsOf, text, texts } from './plugins/check-options.ts'
import cors from './plugins/cors.ts'
import errorReplies from './plugins/error-replies.ts'
import organizations from './routes/organizations.ts'
import profile from './routes/profile.ts'
import syncUser from './routes/sync-user.ts'
import verify from './routes/verify.ts'

export interface RoutesOptions {
  /** The origins whose pages may call these routes; empty turns CORS off. */
  corsOrigins?: readonly string[]
  /** Adds details of an error to its reply. Never in production. */
  showsDetails?: boolean
}

const OPTIONS = optionsOf<RoutesOptions & { prefix: string }>({
  corsOrigins: optional(texts('origins such as https://app.example.com')),
  showsDetails: flag,
  prefix: optional(text('a path')),
})

/**
 * `POST /api/auth/sync-user`, `GET /api/auth/profile`, `GET /api/auth/organizations` and `/api/auth/verify`, encapsulated with
 * this service's error replies. Needs `clerkDatabase`, `clerkAuth` and `clerkUserSync`; accepts Fastify's `prefix`.
 */
const clerkRoutes: FastifyPluginAsync<RoutesOptions> = async (app, options) => {
  checkOptions('clerkRoutes', OPTIONS, options)
  if (!app.hasPlugin('clerk-user-sync')) {
    throw new Error(
      'clerkRoutes needs clerkDatabase, clerkAuth and clerkUserSync: register them before it, each with await',
    )
  }
  const { corsOrigins = [], showsDetails = false } = options
  await app.register(errorReplies, { showsDetails })
  // Before the routes, so that refusals have CORS headers too.
  if (corsOrigins.length > 0) await app.register(cors, { origins: corsOrigins })
  await app.register(syncUser)
  await app.register(profile)
  await app.register(organizations)
  await app.register(verify, { corsOrigins })
}
export default clerkRoutes

/** The service as it is, with the demo round it. For `dev` alone: nothing else loads this file. */
import createError from '@fastify/error'
import fp from 'fastify-plugin'
import app, { type AppOptions } from '../app.ts'
import { findForeignTrait } from '../local-only.ts'
import { createFeed } from './feed.ts'
import { createGate } from './gate.ts'
import page from './page.ts'
import { recordChanges, recordRepository, recordRequests } from './recorder.ts'
import routes from './routes.ts'

const DemoNotForThisRequest = createError(
  'DEMO_NOT_FOR_THIS_REQUEST',
  'The demo answers only this machine and its own pages: %s',
  403,
)

/** @param directory of the built page */
export function demoApp(directory: string): typeof app {
  return fp<AppOptions>(
    async (server, options) => {
      const clerkUrl = options.auth.issuer
      const feed = createFeed()
      const gate = await createGate(options.database.connectionString)
      server.addHook('onClose', gate.close)
      recordRequests(server, feed)
      await server.register(app, {
        ...options,
        database: { ...options.database, connectionString: gate.url },
        changes: options.changes ?? {},
      })
      recordChanges(server, feed)
      recordRepository(server.clerkRepository, feed)
      await server.register(async (tools) => {
        tools.addHook('onRequest', async ({ headers }) => {
          const trait = findForeignTrait(headers, options.corsOrigins ?? [])
          if (trait) throw new DemoNotForThisRequest(trait)
        })
        await tools.register(routes, { prefix: '/demo/api', clerkUrl, feed, gate })
        await tools.register(page, { directory, clerkUrl })
      })
    },
    { name: 'clerk-demo', fastify: '5.x' },
  )
}

/** The service as it is, with the demo round it. For `dev` alone: nothing else loads this file. */
import fp from 'fastify-plugin'
import app, { type AppOptions } from '../app.ts'
import { createFeed } from './feed.ts'
import { createGate } from './gate.ts'
import page from './page.ts'
import { recordChanges, recordRepository, recordRequests } from './recorder.ts'
import routes from './routes.ts'

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
      await server.register(routes, { prefix: '/demo/api', clerkUrl, feed, gate })
      await server.register(page, { directory, clerkUrl })
    },
    { name: 'clerk-demo', fastify: '5.x' },
  )
}

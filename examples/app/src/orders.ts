/** The application's own routes: each order belongs to the user of the request. */
import { getClerkUser } from 'clerk-session-sync'
import { users } from 'clerk-session-sync/schema'
import { desc, eq } from 'drizzle-orm'
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { FastifyPluginAsync } from 'fastify'
import { orders as table } from './schema.ts'

const NewOrder = {
  type: 'object',
  required: ['item'],
  additionalProperties: false,
  properties: { item: { type: 'string', minLength: 1, maxLength: 200 } },
} as const

const orders: FastifyPluginAsync<{ db: NodePgDatabase }> = async (app, { db }) => {
  // Whoever comes here has a row in clerk.users: a missing one is synced first, so the foreign key always holds.
  app.addHook('onRequest', app.requireClerkUser())

  app.get('/', async (request) => {
    const mine = eq(table.userId, getClerkUser(request).id)
    const columns = { id: table.id, item: table.item, createdAt: table.createdAt, by: users.firstName }
    const query = db.select(columns).from(table).innerJoin(users, eq(users.id, table.userId))
    return { orders: await query.where(mine).orderBy(desc(table.id)).limit(100) }
  })

  app.post<{ Body: { item: string } }>('/', { schema: { body: NewOrder } }, async (request, reply) => {
    const [order] = await db
      .insert(table)
      .values({ userId: getClerkUser(request).id, item: request.body.item })
      .returning()
    return reply.code(201).send({ order })
  })
}
export default orders

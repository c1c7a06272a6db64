import type { FastifyPluginAsync } from 'fastify'
import { countUsers, listUsers } from '../list-users.ts'
import type { Query } from '../query.ts'
import { readFilter } from '../user-filters.ts'
import type { EmulatorContext } from './context.ts'
import { readCreateParameters, readMetadata, readMetadataMerge, readUpdateParameters } from './user-parameters.ts'

/** `/v1/users`. */
export const userRoutes: FastifyPluginAsync<EmulatorContext> = async (app, { instance, deletedCursor }) => {
  interface ById {
    Params: { id: string }
  }

  const filterOf = (query: Query) =>
    readFilter(instance.users, query, (organizationId) =>
      instance.organizations.memberships({ organizationId }).map((member) => member.public_user_data.user_id),
    )

  app.get<{ Querystring: Query }>('/users', async ({ query }) =>
    listUsers(instance.users, query, filterOf(query), deletedCursor),
  )
  app.get<{ Querystring: Query }>('/users/count', async ({ query }) => ({
    object: 'total_count',
    total_count: countUsers(instance.users, filterOf(query)),
  }))
  app.get<ById>('/users/:id', async ({ params }) => instance.getUser(params.id))
  app.post('/users', async ({ body }) => instance.createUser(readCreateParameters(body), 'admin'))
  app.patch<ById>('/users/:id', async ({ params, body }) =>
    instance.updateUser(params.id, readUpdateParameters(body), 'admin'),
  )
  app.put<ById>('/users/:id/metadata', async ({ params, body }) => instance.updateUser(params.id, readMetadata(body)))
  app.patch<ById>('/users/:id/metadata', async ({ params, body }) =>
    instance.updateUser(params.id, readMetadataMerge(body, instance.getUser(params.id))),
  )
  app.delete<ById>('/users/:id', async ({ params }) => instance.deleteUser(params.id))
  app.post<ById>('/users/:id/ban', async ({ params }) => instance.banUser(params.id))
  app.post<ById>('/users/:id/unban', async ({ params }) => instance.unbanUser(params.id))
}

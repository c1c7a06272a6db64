/**
 * The documented recipe, as its docs write it: `clerkPlugin` on the protected routes and `getAuth` in them
 * (https://clerk.com/docs/reference/fastify/clerk-plugin), the token verified without network by CLERK_JWT_KEY, `verifyWebhook`
 * (https://clerk.com/docs/guides/development/webhooks/syncing), and Drizzle's builder, a row at a time. Replies go by the same
 * schemas as the service's, which the docs do not ask for and which is faster.
 */
import { clerkClient, clerkPlugin, getAuth, type UserJSON } from '@clerk/fastify'
import { verifyWebhook } from '@clerk/fastify/webhooks'
import { Type } from '@sinclair/typebox'
import { eq } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import Fastify from 'fastify'
import pg from 'pg'
import { User } from '../../src/resources/user/payload.ts'
import { users } from '../../src/resources/user/table.ts'

// The tables are those of the service, which are in a schema of their own.
const db = drizzle(new pg.Pool({ connectionString: process.env.DATABASE_URL, options: '-c search_path=clerk' }))
const fastify = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'warn' } })

const ErrorReply = Type.Object({ error: Type.String() })
const UserReply = Type.Object({ user: User })
const SyncReply = Type.Object({ user: User, created: Type.Boolean(), source: Type.String() })

fastify.register(async (routes) => {
  routes.register(clerkPlugin)

  routes.get(
    '/api/auth/profile',
    { schema: { response: { 200: UserReply, '4xx': ErrorReply } } },
    async (request, reply) => {
      const { isAuthenticated, userId } = getAuth(request)
      if (!isAuthenticated) return reply.code(401).send({ error: 'Unauthorized' })
      const [user] = await db.select().from(users).where(eq(users.id, userId))
      if (!user) return reply.code(404).send({ error: 'User not found' })
      return { user: toReply(user) }
    },
  )

  routes.post(
    '/api/auth/sync-user',
    { schema: { response: { 200: SyncReply, '4xx': ErrorReply } } },
    async (request, reply) => {
      const { isAuthenticated, userId, sessionClaims } = getAuth(request)
      if (!isAuthenticated) return reply.code(401).send({ error: 'Unauthorized' })
      const isByApi = process.env.SYNC_BY_API === 'true'
      const values = isByApi ? await fromApi(userId) : fromClaims(sessionClaims as unknown as Claims)
      const [user] = await db
        .insert(users)
        .values({ id: userId, ...values })
        .onConflictDoUpdate({ target: users.id, set: { ...values, updatedAt: new Date() } })
        .returning()
      return { user: toReply(user as Row), created: false, source: values.syncSource }
    },
  )
})

fastify.post('/clerk', async (request, reply) => {
  try {
    const event = await verifyWebhook(request)
    if (event.type === 'user.created' || event.type === 'user.updated') await upsert(event.data)
    if (event.type === 'user.deleted') await db.delete(users).where(eq(users.id, event.data.id as string))
    return { received: true, outcome: 'applied' }
  } catch (error) {
    request.log.error(error, 'webhook')
    return reply.code(400).send('Error verifying webhook')
  }
})

await fastify.listen({ port: Number(process.env.PORT), host: process.env.HOST })

interface Claims {
  email: string
  email_verified: boolean
  first_name: string
  last_name: string
  username: string
  image_url: string
  public_metadata: object
}

const fromClaims = (claims: Claims) => ({
  email: claims.email,
  emailVerified: claims.email_verified,
  firstName: claims.first_name,
  lastName: claims.last_name,
  username: claims.username,
  imageUrl: claims.image_url,
  publicMetadata: claims.public_metadata as never,
  syncSource: 'session_claims',
})

// https://clerk.com/docs/reference/backend/user/get-user
async function fromApi(userId: string) {
  const user = await clerkClient.users.getUser(userId)
  return {
    email: user.primaryEmailAddress?.emailAddress,
    emailVerified: user.primaryEmailAddress?.verification?.status === 'verified',
    firstName: user.firstName,
    lastName: user.lastName,
    username: user.username,
    imageUrl: user.imageUrl,
    publicMetadata: user.publicMetadata as never,
    syncSource: 'clerk_api',
  }
}

async function upsert(data: UserJSON): Promise<void> {
  const primary = data.email_addresses.find(({ id }) => id === data.primary_email_address_id)
  const values = {
    email: primary?.email_address,
    emailVerified: primary?.verification?.status === 'verified',
    firstName: data.first_name,
    lastName: data.last_name,
    username: data.username,
    imageUrl: data.image_url,
    publicMetadata: data.public_metadata as never,
    lastSignInAt: data.last_sign_in_at ? new Date(data.last_sign_in_at) : null,
    banned: data.banned,
    clerkCreatedAt: new Date(data.created_at),
    clerkUpdatedAt: new Date(data.updated_at),
    syncSource: 'webhook',
  }
  await db
    .insert(users)
    .values({ id: data.id, ...values })
    .onConflictDoUpdate({ target: users.id, set: { ...values, updatedAt: new Date() } })
}

type Row = typeof users.$inferSelect

function toReply(row: Row): User {
  return {
    id: row.id,
    externalId: row.externalId,
    email: row.email,
    emailVerified: row.emailVerified,
    phoneNumber: row.phoneNumber,
    firstName: row.firstName,
    lastName: row.lastName,
    username: row.username,
    imageUrl: row.imageUrl,
    publicMetadata: row.publicMetadata,
    lastSignInAt: row.lastSignInAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  }
}

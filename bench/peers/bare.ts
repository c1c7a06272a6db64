/** Bare Fastify: the same bytes by the same schemas, without authentication, signature or database. */
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { User } from '../../src/resources/user/payload.ts'
import { customClaims, userId } from '../bench-user.ts'

const NUMBER = 50_000
const NOW = new Date().toISOString()
const claims = customClaims(NUMBER)
const user: User = {
  id: userId(NUMBER),
  email: claims.email,
  externalId: null,
  emailVerified: true,
  phoneNumber: null,
  firstName: claims.first_name,
  lastName: claims.last_name,
  username: claims.username,
  imageUrl: claims.image_url,
  publicMetadata: claims.public_metadata,
  lastSignInAt: NOW,
  createdAt: NOW,
  updatedAt: NOW,
}

const UserReply = Type.Object({ user: User })
const SyncReply = Type.Object({ user: User, created: Type.Boolean(), source: Type.String() })
const WebhookReply = Type.Object({ received: Type.Boolean(), outcome: Type.String() })

const fastify = Fastify()
fastify.get('/api/auth/profile', { schema: { response: { 200: UserReply } } }, async () => ({ user }))
fastify.post('/api/auth/sync-user', { schema: { response: { 200: SyncReply } } }, async () => {
  return { user, created: false, source: 'database' }
})
fastify.post('/clerk', { schema: { response: { 200: WebhookReply } } }, async () => {
  return { received: true, outcome: 'applied' }
})
await fastify.listen({ port: Number(process.env.PORT), host: process.env.HOST })

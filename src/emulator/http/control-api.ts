import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyPluginAsync } from 'fastify'
import { foreignEndpoint, notFound, urlNotFound } from '../clerk-error.ts'
import { DeletedUser, Delivery, Session, User, UserAttributes, UserPatch } from '../schemas.ts'
import type { EmulatorContext } from './context.ts'
import { organizationControls } from './organization-controls.ts'

const SHOWN = 100

const Switches = Type.Object({
  url: Type.Union([Type.String(), Type.Null()]),
  enabled: Type.Boolean(),
  held: Type.Union([
    Type.Integer({ description: 'The number of messages that are held back' }),
    Type.Null({ description: 'Not holding' }),
  ]),
  dropNext: Type.Integer(),
  delayNext: Type.Object({ count: Type.Integer(), ms: Type.Integer() }),
  duplicateNext: Type.Integer(),
})

const SwitchesPatch = Type.Partial(
  Type.Object({
    url: Type.Union([Type.String(), Type.Null()]),
    enabled: Type.Boolean(),
    hold: Type.Boolean({ description: 'true to hold messages back, false to release them in order' }),
    dropNext: Type.Integer({ minimum: 0 }),
    delayNext: Type.Object({ count: Type.Integer({ minimum: 0 }), ms: Type.Integer({ minimum: 0 }) }),
    duplicateNext: Type.Integer({ minimum: 0 }),
  }),
)

const State = Type.Object({
  url: Type.String(),
  publishableKey: Type.String(),
  instanceId: Type.String(),
  userCount: Type.Integer(),
  users: Type.Array(User, { description: 'The newest 100' }),
  sessionCount: Type.Integer(),
  sessions: Type.Array(Session, { description: 'The newest 100' }),
  deliveries: Type.Array(Delivery, { description: 'The newest 100' }),
  webhooks: Switches,
})

const ById = Type.Object({ id: Type.String() })
const SignIn = Type.Object({
  userId: Type.Optional(Type.String()),
  email: Type.Optional(Type.String()),
  status: Type.Optional(Type.Union([Type.Literal('active'), Type.Literal('pending')])),
})
const SignedIn = Type.Object({ userId: Type.String(), sessionId: Type.String(), token: Type.String() })
const Token = Type.Object({ token: Type.String() })

/** The control API of the emulator, for a demo page or curl on this machine (see `local-only.ts`). */
export const controlApi: FastifyPluginAsync<EmulatorContext> = async (plainApp, context) => {
  const app = plainApp.withTypeProvider<TypeBoxTypeProvider>()
  const { instance, webhooks, issuer, publishableKey, instanceId } = context

  app.addHook('onRequest', async (_request, reply) => {
    reply.headers({
      'access-control-allow-methods': 'GET, POST, PATCH, DELETE',
      'access-control-allow-headers': 'content-type, authorization',
      'access-control-max-age': '600',
    })
  })
  app.setNotFoundHandler(() => {
    throw urlNotFound()
  })
  app.options('/*', async (_request, reply) => reply.code(204).send())

  app.get('/state', { schema: { response: { 200: State } } }, async () => ({
    url: issuer(),
    publishableKey: publishableKey(),
    instanceId,
    userCount: instance.users.size,
    users: instance.users.walk({ isDescending: true }).take(SHOWN).toArray(),
    sessionCount: instance.sessions.size,
    sessions: [...instance.sessions.values()].slice(-SHOWN).reverse(),
    deliveries: webhooks.deliveries.slice(-SHOWN).reverse(),
    webhooks: webhooks.switches,
  }))

  app.post('/users', { schema: { body: UserAttributes, response: { 201: User } } }, async ({ body }, reply) =>
    reply.code(201).send(instance.createUser(body)),
  )
  app.patch(
    '/users/:id',
    { schema: { params: ById, body: UserPatch, response: { 200: User } } },
    async ({ params, body }) => instance.updateUser(params.id, body),
  )
  app.delete('/users/:id', { schema: { params: ById, response: { 200: DeletedUser } } }, async ({ params }) =>
    instance.deleteUser(params.id),
  )
  app.post('/users/:id/ban', { schema: { params: ById, response: { 200: User } } }, async ({ params }) =>
    instance.banUser(params.id),
  )
  app.post('/users/:id/unban', { schema: { params: ById, response: { 200: User } } }, async ({ params }) =>
    instance.unbanUser(params.id),
  )

  app.post('/sign-in', { schema: { body: SignIn, response: { 200: SignedIn } } }, async ({ body }) => {
    const userId = body.userId ?? findByEmail(context, body.email)
    const session = instance.signIn(userId, { status: body.status })
    return { userId, sessionId: session.id, token: instance.sessionToken(session.id) }
  })
  app.post('/sessions/:id/token', { schema: { params: ById, response: { 200: Token } } }, async ({ params }) => ({
    token: instance.sessionToken(params.id),
  }))
  const endings = {
    revoke: (id: string) => instance.revokeSession(id),
    end: (id: string) => instance.endSession(id),
    remove: (id: string) => instance.removeSession(id),
    activate: (id: string) => instance.activateSession(id),
  }
  for (const [name, change] of Object.entries(endings)) {
    app.post(`/sessions/:id/${name}`, { schema: { params: ById, response: { 200: Session } } }, async ({ params }) =>
      change(params.id),
    )
  }

  await organizationControls(app, context)

  app.post('/webhooks', { schema: { body: SwitchesPatch, response: { 200: Switches } } }, async ({ body }) => {
    flip(context, body)
    return webhooks.switches
  })
}

function findByEmail({ instance }: EmulatorContext, email = ''): string {
  const user = instance.users.findByIdentifier('email_address', email)
  if (!user) throw notFound('user', email)
  return user.id
}

function flip({ webhooks }: EmulatorContext, patch: Static<typeof SwitchesPatch>): void {
  if (patch.url && !webhooks.isOwn(patch.url)) throw foreignEndpoint()
  if (patch.url !== undefined) webhooks.url = patch.url ?? undefined
  if (patch.enabled !== undefined) webhooks.enabled = patch.enabled
  if (patch.dropNext !== undefined) webhooks.dropNext(patch.dropNext)
  if (patch.delayNext !== undefined) webhooks.delayNext(patch.delayNext.count, patch.delayNext.ms)
  if (patch.duplicateNext !== undefined) webhooks.duplicateNext(patch.duplicateNext)
  if (patch.hold === true) webhooks.hold()
  if (patch.hold === false) void webhooks.release()
}

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import { errorReplySchemas } from '../errors.ts'

const LiveReply = Type.Object(
  { status: Type.Literal('ok') },
  { description: 'It serves', examples: [{ status: 'ok' }] },
)

/** `GET /livez`: 200 as long as the process serves. */
const livez: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/livez',
    {
      config: { rateLimit: false, servesWhileClosing: true },
      schema: {
        tags: ['operations'],
        summary: 'Whether the process serves',
        response: { 200: LiveReply, ...errorReplySchemas() },
      },
    },
    async () => ({ status: 'ok' as const }),
  )
}
export default livez

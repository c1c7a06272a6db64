import type { AddressInfo } from 'node:net'
import fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import { findForeignTrait } from '../../local-only.ts'
import {
  ClerkError,
  internalError,
  notForThisRequest,
  parameterInvalid,
  requestMalformed,
  urlNotFound,
} from '../clerk-error.ts'
import { backendApi } from './backend-api.ts'
import type { EmulatorContext } from './context.ts'
import { controlApi } from './control-api.ts'
import { frontendApi } from './frontend-api.ts'

/** Starts the emulator's only listener, on the loopback interface. */
export async function startServer(context: EmulatorContext, port: number): Promise<FastifyInstance> {
  // Forced, because a connection that hangs by a fault would otherwise keep close() waiting.
  const app = fastify({ forceCloseConnections: true, ajv: { customOptions: { coerceTypes: false } } })

  app.removeAllContentTypeParsers()
  // The SDK sends a JSON content type with every request, even without a body.
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') return done(null, undefined)
    try {
      done(null, JSON.parse(String(body)))
    } catch {
      done(requestMalformed())
    }
  })
  app.setErrorHandler((error: FastifyError | ClerkError, _request, reply) => {
    const clerkError = toClerkError(error)
    if (clerkError.retryAfterSeconds !== undefined) reply.header('retry-after', clerkError.retryAfterSeconds)
    return reply.code(clerkError.statusCode).send(clerkError.toBody())
  })
  app.setNotFoundHandler(() => {
    throw urlNotFound()
  })
  app.addHook('onRequest', async ({ headers }, reply) => {
    const trait = findForeignTrait(headers, context.allowedOrigins)
    if (trait) throw notForThisRequest(trait)
    if (headers.origin) reply.headers({ 'access-control-allow-origin': headers.origin, vary: 'origin' })
  })
  // Without a charset, because @clerk/backend parses a body as JSON only with exactly this type.
  app.addHook('onSend', async (_request, reply, payload) => {
    if (reply.getHeader('content-type') === 'application/json; charset=utf-8') reply.type('application/json')
    return payload
  })

  await app.register(frontendApi, context)
  await app.register(backendApi, { ...context, prefix: '/v1' })
  await app.register(controlApi, { ...context, prefix: '/emulator' })
  await app.listen({ host: '127.0.0.1', port })
  return app
}

function toClerkError(error: FastifyError | ClerkError): ClerkError {
  if (error instanceof ClerkError) return error
  if (error.validation) return parameterInvalid('body', error.message)
  // Refusals of Fastify itself: the body is too large or not JSON.
  return error.statusCode ? requestMalformed(error.statusCode) : internalError()
}

export const portOf = (app: FastifyInstance) => (app.server.address() as AddressInfo).port

import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { RouteNotFound } from '../errors.ts'
import { checkOptions, flag, optionsOf } from './check-options.ts'
import errorHeaders from './error-headers.ts'

export interface ErrorRepliesOptions {
  /** Adds details of an error to its reply, and of a 5xx its stack. Never in production. */
  showsDetails?: boolean
  /** Also answers unknown routes, for hosts that serve nothing else. */
  answersNotFound?: boolean
}

const OPTIONS = optionsOf<ErrorRepliesOptions>({ showsDetails: flag, answersNotFound: flag })

/** Answers every error of its context in one shape. The cause of a 5xx is logged, but hidden from the caller. */
export default fp<ErrorRepliesOptions>(
  async (app, options) => {
    checkOptions('clerkErrorReplies', OPTIONS, options)
    const { showsDetails = false, answersNotFound = false } = options
    if (!app.hasPlugin('clerk-error-headers')) await app.register(errorHeaders)
    app.setErrorHandler((error: FastifyError, request, reply) => sendError(error, request, reply, showsDetails))
    if (!answersNotFound) return
    app.setNotFoundHandler((request) => {
      throw new RouteNotFound(request.method, request.url.split('?', 1)[0])
    })
  },
  { name: 'clerk-error-replies', fastify: '5.x' },
)

/** Sends an error in the documented shape, and logs it if it is a fault of the service. */
export function sendError(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
  showsDetails: boolean,
): FastifyReply {
  const statusCode = (error.statusCode ?? 500) >= 400 ? (error.statusCode ?? 500) : 500
  const isUnexpected = statusCode === 500
  if (statusCode >= 500) request.log[isUnexpected ? 'error' : 'warn']({ err: error }, error.message)
  return reply.code(statusCode).send({
    statusCode,
    code: isUnexpected ? 'INTERNAL_SERVER_ERROR' : (error.code ?? 'ERROR'),
    error: STATUS_CODES[statusCode] ?? 'Error',
    message: isUnexpected && !showsDetails ? 'Something went wrong on our side' : error.message,
    requestId: request.id,
    // A refusal is expected, so its stack would not help the caller.
    ...(showsDetails && { details: error.validation ?? error.cause, ...(statusCode >= 500 && { stack: error.stack }) }),
  })
}

/**
 * Receives Clerk's webhooks. The signature is verified over the raw bytes first, then the event's schema. The answer is sent
 * after the commit, so that Svix redelivers after a crash.
 */
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ChangeResult } from '../../db/repository.ts'
import type { Change, Message, Outcome } from '../../domain/change.ts'
import { ClerkEnvelope } from '../../domain/payload.ts'
import { errorReplySchemas, WebhookPayloadInvalid } from '../../errors.ts'
import { ignoreForeign, type ReceivedEvent, readReceivedEvent } from '../../resources/received-event.ts'
import { publish, signatureTracing, type WebhookMessage, webhookChannel } from '../channels.ts'
import { checkOptions, optional, optionsOf, text, texts } from '../check-options.ts'
import errorReplies from '../error-replies.ts'
import { readBody } from '../limits/bodies.ts'
import { createVerifier, type Delivery } from './verifier.ts'

export interface WebhooksOptions {
  /** The signing secrets (`whsec_…`), at least one; several during a rotation. */
  signingSecrets: readonly string[]
  /** The path of the route; `/clerk` by default. */
  path?: string
}

/** The reply to a delivery. */
export const WebhookReply = Type.Object(
  {
    received: Type.Literal(true),
    outcome: Type.Unsafe<Outcome>({
      type: 'string',
      enum: ['applied', 'duplicate', 'stale', 'ignored'],
      description:
        'applied: written; duplicate: received before; stale: older than the stored state; ignored: a type that changes nothing here, or from another Clerk instance',
    }),
  },
  { description: 'Committed', examples: [{ received: true, outcome: 'applied' }] },
)

// Optional in the schema, because missing headers have their own error code.
const WebhookHeaders = Type.Object({
  'svix-id': Type.Optional(Type.String({ description: 'The message id; or webhook-id' })),
  'svix-timestamp': Type.Optional(Type.String({ description: 'Unix seconds; or webhook-timestamp' })),
  'svix-signature': Type.Optional(Type.String({ description: 'v1,<base64> …; or webhook-signature' })),
})

const BODY_LIMIT_BYTES = 1_048_576
// How long the id of the database's Clerk instance is reused.
const INSTANCE_FRESH_MS = 30_000

const OPTIONS = optionsOf<WebhooksOptions>({
  signingSecrets: texts('whsec_… (CLERK_WEBHOOK_SIGNING_SECRET)'),
  path: optional(text('a path')),
})

/** Registers the route. */
export default fp<WebhooksOptions>(
  async (parent, options) => {
    checkOptions('clerkWebhooks', OPTIONS, options)
    const { signingSecrets, path = '/clerk' } = options
    const verify = createVerifier(signingSecrets)
    const findInstanceId = createInstanceLookup(parent)
    // Loaded early, so that the first webhooks do not wait for it; if the database is unreachable, they retry.
    parent.addHook('onReady', async () => void (await findInstanceId().catch(() => undefined)))
    // A separate context, because its parser keeps raw bytes, which other routes must not inherit.
    await parent.register(async (app) => {
      if (!app.hasPlugin('clerk-error-replies')) await app.register(errorReplies)
      app.removeAllContentTypeParsers()
      app.addContentTypeParser('application/json', readBody)
      for (const url of spellings(app, path)) {
        app.post(
          url,
          {
            config: { rateLimit: false, credentials: [{ svixSignature: [] }] },
            bodyLimit: BODY_LIMIT_BYTES,
            schema: {
              hide: url.endsWith('/'),
              tags: ['webhooks'],
              summary: "Target of Clerk's webhooks",
              description: 'Svix retries after anything but a 2xx. Answered after the commit.',
              headers: WebhookHeaders,
              body: ClerkEnvelope,
              response: { 200: WebhookReply, ...errorReplySchemas(400, 413, 415, 422, 503) },
            },
            // No validation by Fastify: the body stays raw until its signature is verified, and its schema must not coerce.
            validatorCompiler: () => () => true,
          },
          async (request) => {
            // Fastify calls no parser for a request without a body.
            const body = (request.body as Buffer | undefined) ?? Buffer.alloc(0)
            // A refusal that the peer does not read keeps its request in memory, so the body is released.
            request.body = undefined
            const delivery = signatureTracing.traceSync(verify, {}, undefined, request.headers, body)
            request.body = body
            return receive(app, request, { ...delivery, body, findInstanceId })
          },
        )
      }
    })
  },
  { name: 'clerk-webhooks', fastify: '5.x', dependencies: ['clerk-database'] },
)

interface ToReceive extends Delivery {
  body: Buffer
  findInstanceId: () => Promise<string | undefined>
}

/** The path with and without a trailing slash: Svix does not follow redirects, and a pasted slash must not lose events. */
function spellings({ initialConfig }: FastifyInstance, path: string): string[] {
  const { ignoreTrailingSlash } = { ...initialConfig, ...initialConfig.routerOptions }
  const bare = path.replace(/\/+$/, '')
  return ignoreTrailingSlash ? [bare] : [bare, `${bare}/`]
}

/** Applies the event, and always logs one line. */
async function receive(app: FastifyInstance, request: FastifyRequest, delivery: ToReceive) {
  const startedAt = performance.now()
  let received = readReceivedEvent(delivery, delivery.body.toString('utf8'), Date.now())
  const change: Change = 'change' in received ? received.change : { message: received.unusable }
  // The time from the envelope, or of the delivery if it has none.
  const { type, objectId, eventAt } = change.message as Message & { eventAt: number }
  // The outcome until something is stored; Svix redelivers after it.
  let outcome: WebhookMessage['outcome'] | 'refused' = 'refused'
  let reason = 'reason' in received ? received.reason : undefined
  try {
    received = ignoreForeign(received, await delivery.findInstanceId())
    if ('change' in received) reason = received.change.message?.ignoredFor
    const result = await keep(app, received)
    outcome = 'error' in result ? 'failed' : result.outcome
    const isForeign = outcome === 'ignored' && reason !== undefined
    publish(webhookChannel, { server: app.server, type, outcome, isForeign, delayMs: Date.now() - eventAt })
    if ('error' in result) throw result.error
    return { received: true as const, outcome: result.outcome }
  } finally {
    request.log[outcome === 'failed' || reason ? 'warn' : 'info'](
      {
        svixId: delivery.id,
        type,
        objectId,
        userId: change.session?.userId ?? change.user?.id,
        outcome,
        reason,
        durationMs: Math.round((performance.now() - startedAt) * 100) / 100,
      },
      'webhook',
    )
  }
}

/** Stores an event that cannot be used as failed, before it is refused. */
async function keep({ clerkRepository }: FastifyInstance, received: ReceivedEvent): Promise<ChangeResult> {
  if ('change' in received) return clerkRepository.apply(received.change)
  await clerkRepository.fail(received.unusable, received.reason)
  return { error: new WebhookPayloadInvalid(received.reason) }
}

/**
 * Makes the lookup of the database's Clerk instance. It is read again at intervals, because another replica may set it first and
 * `migrate --adopt-instance` may change it. Rejects with `DatabaseUnavailable`: an event that cannot be compared must wait.
 */
function createInstanceLookup({ clerkRepository }: Pick<FastifyInstance, 'clerkRepository'>) {
  let known: string | undefined
  let freshUntil = Number.NEGATIVE_INFINITY
  let underWay: Promise<void> | undefined

  async function refresh(): Promise<void> {
    try {
      known = await clerkRepository.instanceId()
      freshUntil = performance.now() + INSTANCE_FRESH_MS
    } finally {
      underWay = undefined
    }
  }

  return async (): Promise<string | undefined> => {
    if (performance.now() >= freshUntil) {
      underWay ??= refresh()
      await underWay
    }
    return known
  }
}

/** A page for operators at `/dashboard`, and its API. The page contains no data; the API is guarded (see access.ts). */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { MAX_CHARTED } from '../../db/dashboard.ts'
import { DashboardTokenInvalid, errorReplyOf, errorReplySchemas, FailedEventNotFound } from '../../errors.ts'
import { replayEvent } from '../../jobs/replay.ts'
import { EVENT_TYPES } from '../../resources/index.ts'
import { checkOptions, number, optional, optionsOf, secret } from '../check-options.ts'
import limitBodies from '../limits/bodies.ts'
import { createGuard } from './access.ts'
import { type AuthCounts, createAuthResults } from './auth-results.ts'
import { readPageFiles } from './page-files.ts'
import {
  DismissReply,
  OverviewQuery,
  OverviewReply,
  RANGES,
  ReplayBody,
  ReplayParams,
  ReplayReply,
  SearchBody,
  SearchReply,
} from './schemas.ts'
import { share } from './share.ts'

export interface DashboardOptions {
  /** The bearer token that the API requires. */
  token: string
  /** The age in ms up to which all open pages share one result; by default a little less than the pages' polling interval. */
  freshMs?: number
}

const SAMPLE_MS = 15_000
const MAX_DEAD_LETTERS = 100
const FRESH_MS = 4_000
const CONFIG = { cors: false, rateLimit: false } as const
const PRIVATE = { ...CONFIG, isPrivate: true as const, credentials: [{ dashboardToken: [] }] }
const HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }
const PAGE_HEADERS = {
  ...HEADERS,
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
}
const API = {
  tags: ['dashboard'],
}
const refusals = { 401: errorReplyOf(DashboardTokenInvalid), ...errorReplySchemas(503) }

const OPTIONS = optionsOf<DashboardOptions>({ token: secret(16), freshMs: optional(number) })

/** Mounts the page and its API. */
export default fp<DashboardOptions>(
  async (app, options) => {
    checkOptions('dashboard', OPTIONS, options)
    const { token, freshMs = FRESH_MS } = options
    for (const { path, type, content } of readPageFiles()) {
      app.get(path, { config: CONFIG, schema: { hide: true } }, async (_request, reply) =>
        reply.headers(PAGE_HEADERS).type(type).send(content),
      )
    }
    await app.register(api, { prefix: '/dashboard/api', token, freshMs })
  },
  { name: 'clerk-dashboard', fastify: '5.x', dependencies: ['clerk-database', 'clerk-metrics'] },
)

const api: FastifyPluginAsyncTypebox<Required<DashboardOptions>> = async (app, { token, freshMs }) => {
  const overview = share((range: keyof typeof RANGES) => readOverview(app, range), freshMs)
  const sampleAuth = watchAuth(app)
  await app.register(limitBodies)
  app.addHook('onRequest', createGuard(token))
  app.addHook('onRequest', async (_request, reply) => void reply.headers(HEADERS))

  app.get(
    '/overview',
    {
      config: PRIVATE,
      schema: {
        ...API,
        summary: 'The data of the dashboard',
        querystring: OverviewQuery,
        response: { 200: OverviewReply, ...refusals },
      },
    },
    async ({ query: { range } }) => {
      const { buckets, ...others } = await overview.get(range)
      const auth = await sampleAuth()
      const starts = buckets.map(({ at }) => Date.parse(at))
      const counts = auth.since(starts, others.stepSeconds * 1000)
      return { ...others, buckets: buckets.map((bucket, i) => ({ ...bucket, auth: counts[i] as AuthCounts })) }
    },
  )

  app.post(
    '/failed-events/:id/replay',
    {
      config: PRIVATE,
      schema: {
        ...API,
        summary: 'Applies a failed webhook again',
        params: ReplayParams,
        body: ReplayBody,
        response: { 200: ReplayReply, ...refusals, 404: errorReplyOf(FailedEventNotFound) },
      },
    },
    async ({ params: { id }, log }) => {
      const [event] = await app.clerkRepository.failedEvents({ ids: [id] }, { limit: 1 })
      // Also if somebody else has replayed it: the page reloads and must not show it any more.
      overview.forget()
      if (!event) throw new FailedEventNotFound()
      const { outcome, error } = await replayEvent(app.clerkRepository, event, Date.now())
      overview.forget()
      log.info({ svixId: id, type: event.type, outcome }, 'replayed from the dashboard')
      return { id, outcome, error }
    },
  )

  app.post(
    '/failed-events/:id/dismiss',
    {
      config: PRIVATE,
      schema: {
        ...API,
        summary: 'Discards a failed webhook and its body',
        params: ReplayParams,
        body: ReplayBody,
        response: { 200: DismissReply, ...refusals, 404: errorReplyOf(FailedEventNotFound) },
      },
    },
    async ({ params: { id }, log }) => {
      const discarded = await app.clerkRepository.discard([id])
      overview.forget()
      if (discarded.length === 0) throw new FailedEventNotFound()
      log.info({ svixId: id }, 'dismissed from the dashboard')
      return { id }
    },
  )

  app.post(
    '/users/search',
    {
      config: PRIVATE,
      schema: {
        ...API,
        summary: 'Finds a user by id or exact email address, or an organization by id',
        description: 'A POST, so that no email address appears in the log of a proxy.',
        body: SearchBody,
        response: { 200: SearchReply, ...refusals },
      },
    },
    async ({ body: { query } }) => app.clerkRepository.searchUsers(query),
  )
}

/** Reads the data from the database, which is the same on every replica. */
async function readOverview(app: FastifyInstance, range: keyof typeof RANGES) {
  const { stepSeconds, count } = RANGES[range]
  const { buckets, lastByType, failedEvents } = await app.clerkRepository.dashboard(stepSeconds, count)
  const { lastReceivedAt: _, ...tables } = await app.clerkRepository.tableStatistics()
  const charted = buckets.reduce((sum, one) => sum + one.applied + one.stale + one.ignored + one.failed, 0)
  const known = new Set(lastByType.map(({ type }) => type))
  const silent = EVENT_TYPES.filter((type) => !known.has(type))
  return {
    range,
    stepSeconds,
    isComplete: charted < MAX_CHARTED,
    buckets,
    tables,
    lastByType: [
      ...lastByType,
      ...silent.map((type) => ({ type, messages: 0, lastReceivedAt: null, lastOutcome: null })),
    ],
    failedEvents,
    ...(app.hasPlugin('clerk-changes') && { changes: await readChanges(app) }),
  }
}

async function readChanges(app: FastifyInstance) {
  const { consumers } = await app.clerkChangesStatus()
  const hasDead = consumers.some(({ dead }) => dead > 0)
  return { consumers, deadLetters: hasDead ? await app.clerkDeadLetters(MAX_DEAD_LETTERS) : [] }
}

/** Samples the counters of the metrics, which adds no cost to requests. */
function watchAuth(app: FastifyInstance) {
  const results = createAuthResults()
  async function sample() {
    results.record(await app.clerkAuthResults(), Date.now())
    return results
  }
  const timer = setInterval(sample, SAMPLE_MS).unref()
  app.addHook('onClose', async () => clearInterval(timer))
  return sample
}

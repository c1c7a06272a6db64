import { createServer } from 'node:http'
import fc from 'fast-check'
import tap, { type Test, test } from 'tap'
import type { AppOptions } from '../../src/app.ts'
import { blankUser } from '../../src/emulator/user-json.ts'
import type { ClerkUserJson } from '../helpers/model.ts'
import { type Service, startService } from '../helpers/service.ts'
import { type Arrival, arrivalsOf, assertConverged, type Random, randomFrom } from './delivery.ts'
import { lives, play, type Saying } from './history.ts'

const HISTORIES = Number(process.env.HISTORIES ?? 300) / 10
const LANES = 8

const seed = process.env.SEED === undefined ? undefined : Number(process.env.SEED)

tap.setTimeout(900_000)

test('every order of webhooks and sync calls at two services ends in the rows of the model', async (t) => {
  const { backendApi, answers, served } = await startBackendApi(t)
  // Without a deadline that a busy machine may miss: what was served must have been written.
  const options = {
    change: ({ userSync, ...others }: AppOptions) => ({ ...others, userSync: { ...userSync, backendApi } }),
  }
  const one = await startService(t, options)
  const two = await startService(t, { ...options, beside: one })
  one.clerk.webhooks.url = undefined
  // Any session will do: each token says whose it is.
  const { id: anySession } = one.clerk.signIn(one.clerk.createUser({ id: 'signer' }).id)
  let histories = 0
  const sources = new Set<string | undefined>()

  /** Sends an arrival as Clerk or the SPA would. Resolves to what its message was told. */
  async function send(service: Service, { id, saying }: Arrival) {
    if (saying.kind === 'event') {
      const body = JSON.stringify(saying.event)
      const headers = { 'content-type': 'application/json', ...one.clerk.sign(body, { id }) }
      const reply = await service.call('/clerk', { method: 'POST', headers, body })
      if (reply.status !== 200) throw new Error(`${id}: ${reply.status} ${reply.body.code}`)
      return [{ id, outcome: reply.body.outcome as string }]
    }
    const userId = saying.kind === 'api' ? saying.user.id : saying.userId
    const iat = saying.kind === 'api' ? 1 : saying.issuedAtSeconds
    if (saying.kind === 'api') answers.set(userId, saying.user)
    const claims = { ...(saying.kind === 'token' && saying.claims), sub: userId, iat, nbf: iat }
    const token = one.clerk.sessionToken(anySession, { claims, omit: ['sid'] })
    const { status, body } = await service.call('/api/auth/sync-user', { method: 'POST', token })
    sources.add(body.source)
    if (status > 201 && status !== 403) throw new Error(`${userId}: ${status} ${body.code}`)
    return []
  }

  await fc.assert(
    fc.asyncProperty(lives, fc.noShrink(fc.nat()), async (users, shuffleSeed) => {
      histories += 1
      const prefix = `user_h${histories}`
      const random = randomFrom(shuffleSeed)
      const sayings = users.flatMap((life, i) => play(life, `${prefix}_${i}`))
      const lanes = split(arrivalsOf(sayings, prefix, random), random)
      const told = lanes.map(async (lane, i) => {
        const outcomes = []
        for (const arrival of lane) outcomes.push(...(await send(i % 2 === 0 ? one : two, arrival)))
        return outcomes
      })
      const outcomes = (await Promise.all(told)).flat()
      // Calls under way share an answer: what was served counts, not what was asked for.
      const heard = [...sayings.filter(({ kind }) => kind !== 'api'), ...served.splice(0)]
      await assertConverged(one.database, prefix, heard, outcomes)
    }),
    { numRuns: HISTORIES, seed },
  )
  t.equal(histories, HISTORIES)
  t.strictSame([...sources].sort(), ['clerk_api', 'database', 'session_claims', undefined], 'every road was taken')
  for (const { app } of [one, two]) t.equal(app.clerkRepository.counts.conflictRetries, 0, 'no deadlock')
})

function split(arrivals: Arrival[], random: Random): Arrival[][] {
  const lanes: Arrival[][] = Array.from({ length: LANES }, () => [])
  for (const arrival of arrivals) lanes[random(LANES)]?.push(arrival)
  return lanes
}

/** With everything that Clerk's SDK wants to see. */
function wholeUser(user: ClerkUserJson) {
  const email_addresses = user.email_addresses.map((address) => ({
    object: 'email_address',
    linked_to: [],
    ...address,
  }))
  return { ...blankUser(user.id, 0), ...user, email_addresses }
}

/** A Backend API that answers with the snapshot it was given last, and is out of order for everybody else. */
async function startBackendApi(t: Test) {
  const answers = new Map<string, ClerkUserJson>()
  const served: Saying[] = []
  const server = createServer((request, reply) => {
    const user = answers.get(request.url?.split('/').at(-1) ?? '')
    if (user) served.push({ kind: 'api', user })
    reply
      .writeHead(user ? 200 : 500, { 'content-type': 'application/json' })
      .end(JSON.stringify(user ? wholeUser(user) : { errors: [] }))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as { port: number }
  // Asked as often as there is something to say.
  const limits = { budget: 1_000_000, askAgainAfterMs: 0, deadlineMs: 60_000 }
  const backendApi = { secretKey: 'sk_test_x', apiUrl: `http://127.0.0.1:${port}`, ...limits }
  return { backendApi, answers, served }
}

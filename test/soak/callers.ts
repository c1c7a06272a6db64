/** Signed-in users who call all the time: each call is answered in time, and none signs the user out. */
import { setTimeout as sleep } from 'node:timers/promises'
import { randomFrom } from '../db/delivery.ts'
import { call } from './call.ts'
import type { Tally } from './tally.ts'
import type { World } from './world.ts'

const USERS = 200
const LANES = 6
const PAUSE_MS = 10
/** Far past every limit of the service: what is still unanswered then hangs. */
const HANGS_AFTER_MS = 20_000

const ROUTES = [
  { kind: 'profile', method: 'GET', path: '/api/auth/profile' },
  { kind: 'verify', method: 'GET', path: '/api/auth/verify' },
  { kind: 'sync-user', method: 'POST', path: '/api/auth/sync-user' },
  { kind: 'health', method: 'GET', path: '/api/auth/health' },
  { kind: 'livez', method: 'GET', path: '/livez' },
] as const

/** Starts them; what it returns ends them and resolves when the last answer has come. */
export function startCallers({ replicas, clerk }: World, tally: Tally, seed: number): () => Promise<void> {
  clerk.webhooks.url = undefined
  const tokens = Array.from({ length: USERS }, () => clerk.sessionToken(clerk.signIn(clerk.createUser().id).id))
  const random = randomFrom(seed)
  let isOver = false

  async function lane(): Promise<void> {
    while (!isOver) {
      const { kind, method, path } = ROUTES[random(ROUTES.length)] as (typeof ROUTES)[number]
      const { url } = replicas[random(replicas.length)] as { url: string }
      const headers = { authorization: `Bearer ${tokens[random(USERS)]}` }
      const answer = await call({ url: url + path, method, headers, timeoutMs: HANGS_AFTER_MS })
      const { status, durationMs } = answer
      if (status === undefined) {
        tally.add(kind, 'unanswered', durationMs)
        if (durationMs >= HANGS_AFTER_MS) tally.violate(`${kind}: no answer in ${HANGS_AFTER_MS} ms`)
        // Nothing listens there for the moment.
        await sleep(10 * PAUSE_MS)
      } else if (status < 300) {
        tally.add(kind, 'ok', durationMs)
      } else if (status === 503 && answer.retryAfter !== undefined) {
        tally.add(kind, 'refused', durationMs)
      } else {
        tally.add(kind, 'wrong', durationMs)
        tally.violate(`${kind}: ${status} ${answer.body}`)
      }
      await sleep(PAUSE_MS)
    }
  }

  const lanes = Promise.all(Array.from({ length: LANES }, lane))
  return async () => {
    isOver = true
    await lanes
  }
}

/** Sends webhooks as Svix does, but soon again: a message is sent until it is answered 200, several at once, some twice. */
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { randomFrom } from '../db/delivery.ts'
import { lives, play, type Saying } from '../db/history.ts'
import { call } from './call.ts'
import type { Tally } from './tally.ts'
import type { World } from './world.ts'

export interface Sender {
  /** Every event of each lot of users, by the prefix of their ids. */
  lots: Map<string, Saying[]>
  /** What each message that got its 200 was told. */
  acknowledged: Map<string, string>
  /** Makes no more messages, and resolves when each of those that were made is acknowledged. */
  finish(): Promise<void>
}

interface Message {
  id: string
  body: string
}

const LANES = 12
const HISTORIES_A_LOT = 5
const PAUSE_MS = 15
/** As Svix. */
const TIMEOUT_MS = 15_000
const RETRY_MS = 100
const GIVE_UP_AFTER_MS = 60_000

export function startSender({ replicas, clerk }: World, tally: Tally, seed: number): Sender {
  const random = randomFrom(seed)
  const lots = new Map<string, Saying[]>()
  const acknowledged = new Map<string, string>()
  let waiting: Message[] = []
  let isFinishing = false
  let giveUpAt = Number.POSITIVE_INFINITY

  function nextLot(): void {
    const prefix = `user_lot${lots.size}`
    const all = fc.sample(lives, { seed: seed + lots.size, numRuns: HISTORIES_A_LOT }).flat()
    const sayings = all.flatMap((life, i) => play(life, `${prefix}_${i}`)).filter(({ kind }) => kind === 'event')
    lots.set(prefix, sayings)
    const messages = sayings.map((saying, i) => ({
      id: `msg_${prefix}_${i}`,
      body: JSON.stringify(saying.kind === 'event' && saying.event),
    }))
    // In any order, and one in ten twice.
    waiting = [...messages, ...messages.filter(() => random(10) === 0)].sort(() => random(3) - 1)
  }

  async function deliver({ id, body }: Message): Promise<void> {
    for (;;) {
      // Signed anew for each attempt, as Svix does: the timestamp is part of it.
      const headers = { 'content-type': 'application/json', ...clerk.sign(body, { id }) }
      const { url } = replicas[random(replicas.length)] as { url: string }
      const answer = await call({ url: `${url}/clerk`, method: 'POST', headers, body, timeoutMs: TIMEOUT_MS })
      if (answer.status === 200) {
        tally.add('webhook', 'ok', answer.durationMs)
        const { outcome } = JSON.parse(answer.body) as { outcome: string }
        if (acknowledged.get(id) === undefined || outcome !== 'duplicate') acknowledged.set(id, outcome)
        return
      }
      const isRefused = answer.status === 503 && answer.retryAfter !== undefined
      tally.add('webhook', isRefused ? 'refused' : answer.status ? 'wrong' : 'unanswered', answer.durationMs)
      if (answer.status && !isRefused) tally.violate(`webhook: ${answer.status} ${answer.body}`)
      if (performance.now() > giveUpAt) throw new Error(`${id} is never acknowledged: ${JSON.stringify(answer)}`)
      await sleep(RETRY_MS + random(RETRY_MS))
    }
  }

  async function lane(): Promise<void> {
    for (;;) {
      if (waiting.length === 0 && isFinishing) return
      if (waiting.length === 0) nextLot()
      await deliver(waiting.pop() as Message)
      await sleep(PAUSE_MS)
    }
  }

  const lanes = Promise.all(Array.from({ length: LANES }, lane))
  lanes.catch(() => undefined) // Thrown by `finish`.
  return {
    lots,
    acknowledged,
    async finish() {
      isFinishing = true
      giveUpAt = performance.now() + GIVE_UP_AFTER_MS
      await lanes
    },
  }
}

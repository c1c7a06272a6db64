import { setMaxListeners } from 'node:events'
import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createWebhookSigner, type WebhookSigner } from '../sign-webhook.ts'
import { newId } from './ids.ts'
import type { Delivery } from './schemas.ts'
import { postWebhook } from './svix-attempt.ts'
import { signBody } from './svix-signature.ts'

const HISTORY_LIMIT = 1_000
const CONCURRENT_ATTEMPTS = 64
const RECORDED_BODY_LENGTH = 1_000

export interface WebhooksOptions {
  url: string | undefined
  secret: string
  instanceId: string
  /** The delays before the second, third… attempt. */
  retryScheduleMs: number[]
  /** The time limit of an attempt. */
  timeoutMs: number
  /** The clock of the envelopes' `timestamp`, Unix ms. Signatures use the real clock, because Svix has its own. */
  now: () => number
}

export interface SendOptions {
  /** The envelope's `timestamp`, Unix ms. */
  timestamp?: number
  /** The Svix message id; reusing the id of an earlier message makes a duplicate. */
  id?: string
  /** Signs with another secret. */
  secret?: string
  /** Posts to another endpoint. */
  url?: string
}

/** A message that is being sent, with its public delivery. */
interface Message {
  delivery: Delivery
  signer: WebhookSigner
  url: string | undefined
}

/**
 * The webhook sender: Svix with one endpoint, and controls to simulate delivery problems.
 *
 * Messages are sent immediately and in parallel, so they may arrive in any order. An attempt succeeds with a 2xx; otherwise it is
 * retried by the schedule, and finally given up.
 *
 * Source: https://docs.svix.com/retries.
 */
export class Webhooks {
  /** False when Svix has disabled the endpoint, as after five days of failures: nothing is sent or retried. */
  enabled = true

  #url: string | undefined
  readonly #ownUrls = new Set<string>()
  readonly #options: WebhooksOptions
  readonly #signer: WebhookSigner
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONCURRENT_ATTEMPTS })
  readonly #closing = new AbortController()
  readonly #history: Message[] = []
  readonly #underway = new Set<Promise<void>>()
  #held: Message[] | undefined
  #drops = 0
  #delays = { count: 0, ms: 0 }
  #duplicates = 0

  constructor(options: WebhooksOptions) {
    this.#options = options
    this.#signer = createWebhookSigner(options.secret)
    this.url = options.url
    setMaxListeners(0, this.#closing.signal)
  }

  /** The endpoint, `http:` only; if undefined, messages are `skipped`. */
  get url(): string | undefined {
    return this.#url
  }
  set url(url: string | undefined) {
    this.#url = url
    if (url) this.#ownUrls.add(url)
  }

  /** Whether the program that runs the emulator has set this endpoint. Callers over HTTP cannot use any other. */
  isOwn(url: string): boolean {
    return this.#ownUrls.has(url)
  }

  /** The last 1,000 deliveries, oldest first. */
  get deliveries(): Delivery[] {
    return this.#history.map(({ delivery }) => delivery)
  }

  /** The current controls, for display. */
  get switches() {
    return {
      url: this.url ?? null,
      enabled: this.enabled,
      held: this.#held?.length ?? null,
      dropNext: this.#drops,
      delayNext: { ...this.#delays },
      duplicateNext: this.#duplicates,
    }
  }

  /** Drops the next `count` messages without any attempt, as if they were lost in transit. */
  dropNext(count: number): void {
    this.#drops = count
  }

  /** Delays the first attempt of the next `count` messages by `ms`. */
  delayNext(count: number, ms: number): void {
    this.#delays = { count, ms }
  }

  /** Sends the next `count` messages twice at the same time, with the same message id. */
  duplicateNext(count: number): void {
    this.#duplicates = count
  }

  /** Holds back all messages from now on, until `release()`. */
  hold(): void {
    this.#held ??= []
  }

  /**
   * Sends the held messages in the given order: each first attempt is answered before the next one is made.
   *
   * @returns when all the first attempts were answered
   */
  async release({ order = 'fifo' }: { order?: 'fifo' | 'reverse' | 'random' } = {}): Promise<void> {
    const held = this.#held ?? []
    this.#held = undefined
    if (order === 'reverse') held.reverse()
    if (order === 'random') shuffle(held)
    for (const { delivery } of held) delivery.state = 'pending'
    await this.#track(this.#sendInTurn(held))
  }

  /**
   * Sends an event in Clerk's envelope.
   *
   * @returns the delivery, once it is settled (or held)
   * @throws if `secret` is not valid
   */
  async send(type: string, data: object, options: SendOptions = {}): Promise<Delivery> {
    const { timestamp = this.#options.now(), id = newId('msg', Date.now()), url, secret } = options
    const body = JSON.stringify({
      data,
      event_attributes: {
        http_request: {
          client_ip: '127.0.0.1',
          user_agent: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/128.0.0.0 Safari/537.36',
        },
      },
      instance_id: this.#options.instanceId,
      object: 'event',
      timestamp,
      type,
    })
    const signer = secret === undefined ? this.#signer : createWebhookSigner(secret)
    const message: Message = { delivery: { id, type, state: 'pending', attempts: [], body }, signer, url }
    this.#history.push(message)
    if (this.#history.length > HISTORY_LIMIT) this.#history.shift()

    if (this.#drops > 0) {
      this.#drops--
      message.delivery.state = 'dropped'
    } else if (this.#held) {
      message.delivery.state = 'held'
      this.#held.push(message)
    } else {
      await this.#start(message)
    }
    return message.delivery
  }

  /**
   * Sends a message again, with the same bytes and id, like "Resend" in Clerk's dashboard.
   *
   * @returns the same delivery, once it is settled again
   * @throws if the id is not among the last 1,000
   */
  async replay(id: string): Promise<Delivery> {
    const message = this.#history.findLast(({ delivery }) => delivery.id === id)
    if (!message) throw new Error(`No delivery with the id ${id} among the last ${HISTORY_LIMIT}`)
    message.delivery.state = 'pending'
    await this.#start(message)
    return message.delivery
  }

  /** Resolves when no message is in transit or waiting for a retry. Held messages do not count. */
  async idle(): Promise<void> {
    while (this.#underway.size > 0) await Promise.all(this.#underway)
  }

  /** Ends all attempts, delays and connections. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.idle()
    this.#agent.destroy()
  }

  async #sendInTurn(messages: Message[]): Promise<void> {
    for (const message of messages) await new Promise<void>((resolve) => this.#start(message, resolve))
  }

  #start(message: Message, onFirstAnswer?: () => void): Promise<void> {
    return this.#track(this.#deliver(message, onFirstAnswer).finally(onFirstAnswer))
  }

  async #track(work: Promise<void>): Promise<void> {
    this.#underway.add(work)
    await work
    this.#underway.delete(work)
  }

  async #deliver(message: Message, onFirstAnswer?: () => void): Promise<void> {
    const { delivery } = message
    const waitsMs = [this.#takeDelay(), ...this.#options.retryScheduleMs]
    let copies = this.#takeCopies()
    for (const waitMs of waitsMs) {
      if (waitMs > 0) await sleep(waitMs, undefined, { signal: this.#closing.signal }).catch(() => {})
      const url = message.url ?? this.url
      if (url === undefined || !this.enabled || this.#closing.signal.aborted) {
        delivery.state = 'skipped'
        return
      }
      const answers = await Promise.all(Array.from({ length: copies }, () => this.#attempt(message, url)))
      onFirstAnswer?.()
      if (answers.includes(true)) {
        delivery.state = 'delivered'
        return
      }
      copies = 1
    }
    delivery.state = 'failed'
  }

  /** Whether the attempt was answered with a 2xx. */
  async #attempt({ delivery, signer }: Message, url: string): Promise<boolean> {
    const at = Date.now()
    const headers = {
      accept: '*/*',
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(delivery.body)),
      'user-agent': 'Svix-Webhooks/1.84.0 (sender-9YMgn; +https://www.svix.com/http-sender/)',
      ...signBody(signer, delivery.id, Math.floor(at / 1000), delivery.body),
    }
    const { timeoutMs } = this.#options
    try {
      const connection = { agent: this.#agent, signal: this.#closing.signal }
      const answer = await postWebhook({ url, headers, body: delivery.body, timeoutMs, ...connection })
      delivery.attempts.push({ at, status: answer.status, body: answer.body.slice(0, RECORDED_BODY_LENGTH) })
      return answer.status >= 200 && answer.status < 300
    } catch (error) {
      delivery.attempts.push({ at, status: null, body: String(error) })
      return false
    }
  }

  #takeDelay(): number {
    if (this.#delays.count === 0) return 0
    this.#delays.count--
    return this.#delays.ms
  }

  #takeCopies(): number {
    if (this.#duplicates === 0) return 1
    this.#duplicates--
    return 2
  }
}

function shuffle(items: unknown[]): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1))
    ;[items[last], items[other]] = [items[other], items[last]]
  }
}

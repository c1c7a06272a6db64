/** What the user sees, the figures, and the sentence at the end. */
import { type Happening, spell, Timeline } from './timeline.ts'
import type { Person } from './world.ts'

export type Result = 'none' | 'running' | 'signed-in' | 'signed-out' | 'loop' | 'broken'
export type Screen = 'idle' | 'busy' | 'in' | 'out' | 'loop'

const APP = 'app.example.com'
const PAUSE_MS = 450

export const get = <T extends HTMLElement>(id: string) => document.getElementById(id) as T

export class Stage {
  readonly timeline = new Timeline(get<HTMLOListElement>('timeline'))
  startedAt = 0
  requests = 0
  untilSignedInMs = 0
  userId: string | undefined
  #refusals = 0
  #early: Happening[] = []

  reset(): void {
    this.startedAt = Date.now()
    this.requests = this.#refusals = this.untilSignedInMs = 0
    this.userId = undefined
    this.#early = []
    this.timeline.reset()
    this.#figures()
    this.show('busy', 'Signing in…', 'at Clerk', 'accounts.example.com/sign-in')
    this.end('running', 'It is happening…')
  }

  meet({ id, name }: Person): void {
    this.userId = id
    get('face').textContent = name.slice(0, 1)
    for (const happening of this.#early) this.hear(happening)
  }

  /** Of the service's feed: what is about the person of this story, or about nobody. */
  hear(happening: Happening): void {
    // The clock is the same, but a duration is rounded.
    if (this.startedAt === 0 || happening.at < this.startedAt - 1) return
    const { userId } = happening
    if (userId === undefined || userId === this.userId) this.timeline.add(happening)
    else if (this.userId === undefined) this.#early.push(happening)
  }

  show(screen: Screen, headline: string, subline: string, address = APP): void {
    get('stage').dataset.screen = screen
    get('headline').textContent = headline
    get('subline').textContent = subline
    get('address').textContent = address
  }

  signedIn(name: string, detail: string): void {
    this.untilSignedInMs = Date.now() - this.startedAt
    this.show('in', `Hello, ${name}`, detail)
    this.#figures()
  }

  say(sentence: string): void {
    get('verdict').textContent = sentence
  }

  end(result: Result, sentence: string): void {
    this.say(sentence)
    get('verdict').dataset.result = result
  }

  /** Something that the person or the browser did, without a request to the service. */
  note(label: string): void {
    this.timeline.add({ lane: 'browser', at: Date.now(), label })
  }

  /** So long that people can follow. */
  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }

  /** The browser's, on the time line. */
  readonly fetch: typeof globalThis.fetch = async (input, init) => {
    const at = Date.now()
    const startedAt = performance.now()
    const { pathname } = new URL(String(input), location.origin)
    const label = `${init?.method ?? 'GET'} ${pathname}`
    const response = await fetch(input, init)
    const durationMs = performance.now() - startedAt
    const { code } = response.ok ? {} : await response.clone().json()
    this.requests += 1
    if (response.status === 401) this.#refusals += 1
    this.#figures()
    this.timeline.add({ lane: 'browser', at, durationMs, label, status: response.status, outcome: code })
    return response
  }

  #figures(): void {
    get('requests').textContent = String(this.requests)
    get('refusals').textContent = String(this.#refusals)
    get('until').textContent = this.untilSignedInMs ? spell(this.untilSignedInMs) : '–'
  }
}

/** The time line: what happened, in the order in which it began, each in the lane of whoever did it. */

export type Lane = 'browser' | 'service' | 'database' | 'webhook' | 'feed'

export interface Happening {
  lane: Lane
  /** Unix ms. */
  at: number
  durationMs?: number
  label: string
  status?: number
  outcome?: string
  userId?: string
}

const LANES: Record<Lane, string> = {
  browser: 'Browser',
  service: 'Service',
  database: 'Database',
  webhook: 'Webhook',
  feed: 'Feed',
}
// The caller is listed first if caller and callee began within a millisecond.
const RANK: Record<Lane, number> = { browser: 0, service: 1, webhook: 1, database: 2, feed: 3 }
const GAP_MS = 400
const UNTIL_MS = 20_000
const BAD = new Set(['lost', 'DOWN', 'deleted'])
const ODD = new Set(['no row', 'late', 'duplicate', 'DATABASE_UNAVAILABLE'])

export class Timeline {
  readonly happenings: Happening[] = []
  readonly #list: HTMLOListElement
  readonly #shown: Happening[] = []
  readonly #rows: HTMLLIElement[] = []
  readonly #waiting = new Set<() => void>()
  #startedAt = 0

  constructor(list: HTMLOListElement) {
    this.#list = list
  }

  reset(): void {
    this.#startedAt = Date.now()
    this.happenings.length = 0
    this.#shown.length = this.#rows.length = 0
    this.#list.replaceChildren()
  }

  add(happening: Happening): void {
    this.happenings.push(happening)
    if (!this.#fold(happening)) this.#insert(happening)
    for (const look of this.#waiting) look()
  }

  #insert(happening: Happening): void {
    const found = this.#shown.findIndex((other) => isBefore(happening, other))
    const index = found < 0 ? this.#shown.length : found
    const row = this.#row(happening)
    this.#list.insertBefore(row, this.#rows[index] ?? null)
    this.#shown.splice(index, 0, happening)
    this.#rows.splice(index, 0, row)
    this.#showGap(index)
    this.#showGap(index + 1)
  }

  /** What fails again and again in the background is one row with a number. */
  #fold({ lane, label, outcome }: Happening): boolean {
    if (outcome !== 'DATABASE_UNAVAILABLE' || lane === 'browser' || lane === 'service') return false
    const index = this.#shown.findIndex((other) => other.label === label && other.outcome === outcome)
    const facts = this.#rows[index]?.querySelector<HTMLElement>('.facts')
    if (!facts) return false
    facts.dataset.times = String(Number(facts.dataset.times ?? 1) + 1)
    return true
  }

  /** Resolves when it has happened; rejects when it has not within 20 s. */
  until(what: string, isIt: (happening: Happening) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (then: () => void) => {
        this.#waiting.delete(look)
        clearTimeout(timer)
        then()
      }
      const look = () => this.happenings.some(isIt) && settle(resolve)
      const timer = setTimeout(() => settle(() => reject(new Error(`${what} never came`))), UNTIL_MS)
      this.#waiting.add(look)
      look()
    })
  }

  #row(happening: Happening): HTMLLIElement {
    const { lane, at, durationMs, label, status, outcome } = happening
    const row = document.createElement('li')
    row.dataset.lane = lane
    row.dataset.tone = toneOf(happening)
    const chip = element('div', 'chip')
    chip.append(element('b', 'who', LANES[lane]), element('span', 'what', label))
    const facts = element('span', 'facts')
    if (status !== undefined) facts.append(element('span', 'status', String(status)))
    if (outcome) facts.append(element('span', 'outcome', outcome))
    if (durationMs !== undefined) facts.append(element('span', 'took', spell(durationMs)))
    if (facts.childElementCount > 0) chip.append(facts)
    row.append(element('span', 'gap'), element('time', '', `+${spell(Math.max(0, at - this.#startedAt))}`), chip)
    return row
  }

  #showGap(index: number): void {
    const [before, here] = [this.#shown[index - 1], this.#shown[index]]
    if (!here) return
    const gapMs = before ? here.at - before.at : 0
    const gap = this.#rows[index]?.querySelector('.gap')
    if (gap) gap.textContent = gapMs > GAP_MS ? `${spell(gapMs)} later` : ''
  }
}

const isBefore = (one: Happening, other: Happening) =>
  one.at < other.at || (one.at === other.at && RANK[one.lane] < RANK[other.lane])

/** `9 ms`, `1.2 s`. */
export const spell = (ms: number) => (ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`)

function toneOf({ status = 0, outcome = '' }: Happening): 'bad' | 'odd' | 'good' | 'plain' {
  if (BAD.has(outcome) || outcome.startsWith('session ') || status === 401 || status === 403) return 'bad'
  if (ODD.has(outcome) || status >= 400) return 'odd'
  return status >= 200 ? 'good' : 'plain'
}

export function element(name: string, className: string, text = ''): HTMLElement {
  const made = document.createElement(name)
  if (className) made.className = className
  made.textContent = text
  return made
}

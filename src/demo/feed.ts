/** What happened in the service, for the demo's time line. */

export interface DemoEvent {
  lane: 'service' | 'database' | 'webhook' | 'feed'
  /** When it began, Unix ms. */
  at: number
  durationMs: number
  label: string
  /** HTTP status, where it was a request. */
  status?: number
  /** What came of it: `applied`, `no row`, an error's code. */
  outcome?: string
  userId?: string
}

export interface Feed {
  add(event: DemoEvent): void
  /** Calls back for every event from now on, until the function returned is called. */
  follow(listener: (event: DemoEvent) => void): () => void
}

export function createFeed(): Feed {
  const listeners = new Set<(event: DemoEvent) => void>()
  return {
    add(event) {
      for (const listener of listeners) listener(event)
    },
    follow(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

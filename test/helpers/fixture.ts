import { readFileSync } from 'node:fs'

/** An event as Clerk sends it. */
export interface FixtureEvent {
  type: string
  timestamp: number
  // biome-ignore lint/suspicious/noExplicitAny: a test changes whatever it is about
  data: any
}

/** The event of `test/fixtures/<type>.json`, a new object each time. It names no instance, so that every emulator's service takes it. */
export function readFixture(type: string): FixtureEvent {
  const { instance_id: _, ...event } = JSON.parse(
    readFileSync(new URL(`../fixtures/${type}.json`, import.meta.url), 'utf8'),
  )
  return event
}

import { setTimeout as sleep } from 'node:timers/promises'

const DEADLINE_MS = 60_000

/** Asks again and again until the answer is yes. Rejects after a minute. */
export async function waitUntil(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + DEADLINE_MS
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error(`never came: ${what}`)
    await sleep(5)
  }
}

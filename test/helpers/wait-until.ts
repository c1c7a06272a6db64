import { setTimeout as sleep } from 'node:timers/promises'

const DEADLINE_MS = 15_000

/** Asks again and again until the answer is yes. Rejects after 15 s by default. */
export async function waitUntil(what: string, isSo: () => Promise<boolean>, deadlineMs = DEADLINE_MS): Promise<void> {
  const giveUpAt = performance.now() + deadlineMs
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error(`never came: ${what}`)
    await sleep(5)
  }
}

import { assertRows } from '../db/delivery.ts'
import type { Sender } from './sender.ts'
import type { Tally } from './tally.ts'
import type { World } from './world.ts'

/**
 * Holds the tables against everything that was acknowledged: each message is in the ledger with the outcome that it was
 * told, and each user and session is as the newest event left it. Returns how many messages were found.
 */
export async function verify({ database }: World, { lots, acknowledged }: Sender, tally: Tally): Promise<number> {
  const rows = await database.query<{ id: string; outcome: string }>('select id, outcome from webhook_events')
  const ledger = new Map(rows.map(({ id, outcome }) => [id, outcome]))
  let found = 0
  for (const [id, told] of acknowledged) {
    const outcome = ledger.get(id)
    if (outcome !== undefined) found += 1
    // Who was told "duplicate" never heard the first answer.
    if (outcome !== told && (told !== 'duplicate' || outcome === 'failed')) {
      tally.violate(`${id} was told ${told}, and the ledger says ${outcome}`)
    }
  }
  for (const [prefix, sayings] of lots) {
    await assertRows(database, prefix, sayings).catch((error: Error) => tally.violate(`${prefix}: ${error.message}`))
  }
  return found
}

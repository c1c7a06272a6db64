import fc from 'fast-check'
import tap, { test } from 'tap'
import type { Repository } from '../../src/db/repository.ts'
import type { Change } from '../../src/domain/change.ts'
import { changeFromEvent } from '../../src/resources/received-event.ts'
import { claimsChange, snapshotFromApi } from '../../src/resources/user/change.ts'
import { startRepository } from '../helpers/repository.ts'
import { type Arrival, arrivalsOf, assertConverged, type Random, randomFrom } from './delivery.ts'
import { lives, play } from './history.ts'

const HISTORIES = Number(process.env.HISTORIES ?? 300)
const LANES = 4

// `SEED=… tap test/db/convergence.test.ts` repeats a run whose seed fast-check printed.
const seed = process.env.SEED === undefined ? undefined : Number(process.env.SEED)

tap.setTimeout(900_000)

test('every order of arrival ends in the rows of the model', async (t) => {
  const one = await startRepository(t, { max: LANES })
  const two = await startRepository(t, { max: LANES, database: one.database })
  const replicas = [one.repository, two.repository]
  let histories = 0

  await fc.assert(
    fc.asyncProperty(lives, fc.noShrink(fc.nat()), async (users, shuffleSeed) => {
      histories += 1
      const prefix = `user_${histories}`
      const random = randomFrom(shuffleSeed)
      const sayings = users.flatMap((life, i) => play(life, `${prefix}_${i}`))
      const told = await deliver(replicas, arrivalsOf(sayings, prefix, random), random)
      await assertConverged(one.database, prefix, sayings, told)
    }),
    { numRuns: HISTORIES, seed },
  )
  t.equal(histories, HISTORIES)
  for (const { counts } of replicas) t.equal(counts.conflictRetries, 0, 'no deadlock')
})

/** In batches of any size, over several connections of each replica at once. Resolves to what each message was told. */
async function deliver(replicas: Repository[], arrivals: Arrival[], random: Random) {
  const changes = arrivals.map(toChange)
  const maxBatch = 1 + random(12)
  const lanes: { repository: Repository; batches: Change[][] }[] = Array.from({ length: LANES }, (_, i) => ({
    repository: replicas[i % replicas.length] as Repository,
    batches: [],
  }))
  while (changes.length > 0) lanes[random(LANES)]?.batches.push(changes.splice(0, 1 + random(maxBatch)))
  const told: { id: string; outcome: string }[] = []
  await Promise.all(
    lanes.map(async ({ repository, batches }) => {
      for (const batch of batches) {
        const results = await repository.apply(batch)
        for (const [i, result] of results.entries()) {
          const { message } = batch[i] as Change
          if ('error' in result) throw result.error
          if (message) told.push({ id: message.id, outcome: result.outcome })
        }
      }
    }),
  )
  return told
}

function toChange({ saying, id }: Arrival): Change {
  if (saying.kind === 'api') return { user: snapshotFromApi(saying.user) }
  if (saying.kind === 'token')
    return { user: claimsChange({ ...saying, sessionId: null, claims: { ...saying.claims } }) }
  return changeFromEvent(saying.event, { id, sentAt: 0, payload: JSON.stringify(saying.event) }, Date.now())
}

import fc from 'fast-check'
import tap, { test } from 'tap'
import type { Repository } from '../../src/db/repository.ts'
import type { Change } from '../../src/domain/change.ts'
import { changeFromEvent } from '../../src/resources/received-event.ts'
import { claimsChange, snapshotFromApi } from '../../src/resources/user/change.ts'
import type { TestDatabase } from '../helpers/database.ts'
import { expectedUsers, type Fact, type Row } from '../helpers/model.ts'
import { inferred, startRepository } from '../helpers/repository.ts'
import { type Random, randomFrom } from './delivery.ts'
import { factsIn, lives, play, type Saying } from './history.ts'
import { type JobSaying, type Told, withInferences } from './inferences.ts'

const HISTORIES = Number(process.env.HISTORIES ?? 150)
const LANES = 4
const seed = process.env.SEED === undefined ? undefined : Number(process.env.SEED)

tap.setTimeout(900_000)

test('inferred deletions, revivals and real deletions end in the rows of the model, over two replicas', async (t) => {
  const one = await startRepository(t, { max: LANES })
  const two = await startRepository(t, { max: LANES, database: one.database })
  const replicas = [one.repository, two.repository]
  let histories = 0
  let revivals = 0
  await fc.assert(
    fc.asyncProperty(lives, fc.noShrink(fc.nat()), async (users, shuffleSeed) => {
      histories += 1
      const prefix = `user_${histories}`
      const random = randomFrom(shuffleSeed)
      const told = users.map((life, i) => {
        const id = `${prefix}_${i}`
        return withInferences(play(life, id), id, random)
      })
      await deliver(replicas, told, prefix, random)
      const wanted = told.flatMap(modelled)
      revivals += wanted.filter(({ isRevived }) => isRevived).length
      assertUsers(
        await readUsers(one.database, prefix),
        wanted.map(({ rows }) => rows),
      )
    }),
    { numRuns: HISTORIES, seed },
  )
  t.ok(revivals > HISTORIES / 10, `${revivals} users came back`)
})

/** Events and tokens in any order, several times; what jobs wrote about a user in the order of their writes. */
async function deliver(replicas: Repository[], told: Told[][], prefix: string, random: Random): Promise<void> {
  const lanes: Change[][] = Array.from({ length: LANES }, () => [])
  for (const [n, sayings] of told.entries()) {
    const jobs = sayings.filter(isJob)
    const others = sayings.flatMap((saying, i) => {
      if (isJob(saying)) return []
      const change = toChange(saying, `${prefix}|${n}|${i}`)
      return Array.from({ length: 1 + random(3) * random(2) }, () => change)
    })
    for (const change of others) {
      const lane = lanes[random(LANES)] as Change[]
      lane.splice(random(lane.length + 1), 0, change)
    }
    const lane = lanes[n % LANES] as Change[]
    let at = 0
    for (const saying of jobs) {
      at += random(lane.length - at + 1)
      lane.splice(at, 0, toChange(saying, ''))
      at += 1
    }
  }
  await Promise.all(
    lanes.map(async (changes, i) => {
      const { apply } = replicas[i % replicas.length] as Repository
      while (changes.length > 0) {
        for (const result of await apply(changes.splice(0, 1 + random(6)))) if ('error' in result) throw result.error
      }
    }),
  )
}

const isJob = (saying: Told): saying is JobSaying => saying.kind === 'naming' || saying.kind === 'inference'

function toChange(saying: Told, id: string): Change {
  if (saying.kind === 'naming') return { user: snapshotFromApi(saying.user, saying.askedAt) }
  if (saying.kind === 'inference') return { user: inferred(saying.userId, saying.askedAt) }
  if (saying.kind === 'token')
    return { user: claimsChange({ ...saying, sessionId: null, claims: { ...saying.claims } }) }
  return changeFromEvent(saying.event, { id, sentAt: 0, payload: '{}' }, Date.now())
}

/**
 * The contract: an event's deletion is final; an inferred one stands unless the API or an event is dated after it. It clears what
 * earlier events said. So where the API names the user again with an unchanged `updated_at`, an event of the same `updated_at`
 * counts only if it is delivered after that: either row is right.
 */
function modelled(told: Told[]): { rows: Row[]; isRevived: boolean }[] {
  const facts = told.flatMap(factsOf)
  const inference = told.findLast((saying) => saying.kind === 'inference')
  const [row] = expectedUsers(facts)
  if (!row) return []
  if (!inference || facts.some(({ kind }) => kind === 'deletion')) return [{ rows: [row], isRevived: false }]
  const { askedAt } = inference
  const isLater = (fact: Fact) => fact.kind === 'snapshot' && (fact.eventAt ?? 0) > askedAt
  const namings = told.filter((saying) => saying.kind === 'naming' && saying.askedAt > askedAt)
  if (namings.length > 0) {
    const kept = facts.filter((fact) => fact.kind !== 'snapshot' || isLater(fact))
    return [{ rows: [row, ...expectedUsers([...kept, ...namings.flatMap(factsOf)])], isRevived: true }]
  }
  if (facts.some(isLater)) return [{ rows: [row], isRevived: true }]
  return [{ rows: expectedUsers([{ kind: 'deletion', userId: row.id as string, eventAt: askedAt }]), isRevived: false }]
}

function factsOf(saying: Told): Fact[] {
  if (saying.kind === 'inference') return []
  if (saying.kind === 'naming') return [{ kind: 'snapshot', user: saying.user, eventAt: null }]
  return factsIn(saying as Saying)
}

const COLUMNS = [
  'id',
  'email',
  'first_name',
  'last_name',
  'username',
  'image_url',
  'public_metadata',
  'last_sign_in_at',
]
const VISIBLE = [...COLUMNS, 'banned', 'deleted_at']

async function readUsers(database: TestDatabase, prefix: string): Promise<Row[]> {
  return database.query(`select ${VISIBLE.join(', ')} from users where id like $1 order by id`, [`${prefix}\\_%`])
}

/** @param wanted of each user the rows that are right, in the order of ids */
function assertUsers(found: Row[], wanted: Row[][]): void {
  const visible = (row: Row) => {
    const value = (name: string) => (row[name] instanceof Date ? (row[name] as Date).getTime() : row[name])
    return JSON.stringify(VISIBLE.map((name) => [name, value(name)]))
  }
  const ours = found.map(visible)
  const right = wanted.map((rows) => rows.map(visible))
  const wrong = right.findIndex((rows, i) => !rows.includes(ours[i] as string))
  if (ours.length === right.length && wrong === -1) return
  throw new Error(
    `${ours.length} rows, expected ${right.length}:\n  ${ours[wrong]}\n  ${right[wrong]?.join('\n  or ')}`,
  )
}

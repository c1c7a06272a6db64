import fc from 'fast-check'
import tap, { test } from 'tap'
import type { Repository } from '../../src/db/repository.ts'
import type { Change } from '../../src/domain/change.ts'
import { invitationSnapshot } from '../../src/resources/invitation/change.ts'
import { membershipStates } from '../../src/resources/membership/change.ts'
import { organizationSnapshot } from '../../src/resources/organization/change.ts'
import { changeFromEvent } from '../../src/resources/received-event.ts'
import { roleSnapshot } from '../../src/resources/role/change.ts'
import { claimsChange, snapshotFromApi } from '../../src/resources/user/change.ts'
import type { TestDatabase } from '../helpers/database.ts'
import type { Row } from '../helpers/model.ts'
import { expectedOrganizations, expectedStrangers } from '../helpers/organization-model.ts'
import { startRepository } from '../helpers/repository.ts'
import { assertRows, type Random, randomFrom } from './delivery.ts'
import { factsIn, lives, play, type Saying } from './history.ts'
import { type OrganizationSaying, organizationLives, playOrganizations } from './organization-history.ts'

// 1,000 by `npm run test:long`.
const HISTORIES = Number(process.env.HISTORIES ?? 300)
const LANES = 4

// `SEED=… tap test/db/organization-convergence.test.ts` repeats a run whose seed fast-check printed.
const seed = process.env.SEED === undefined ? undefined : Number(process.env.SEED)

tap.setTimeout(600_000)

test('every order of arrival ends in the rows and permissions of the model', async (t) => {
  const one = await startRepository(t, { max: LANES })
  const two = await startRepository(t, { max: LANES, database: one.database })
  const replicas = [one.repository, two.repository]
  let histories = 0

  await fc.assert(
    fc.asyncProperty(lives, organizationLives, fc.noShrink(fc.nat()), async (users, steps, shuffleSeed) => {
      histories += 1
      const prefix = `user_${histories}`
      const random = randomFrom(shuffleSeed)
      const known = users.map((life, i) => ({ ...life, id: `${prefix}_${i}` }))
      const userSayings = known.flatMap((life) => play(life, life.id))
      // What memberships say of users counts where nothing else is known: strangers alone.
      const members = known.filter(({ style }) => style !== 'mute').map(({ id }) => id)
      const sayings = playOrganizations(steps, `${histories}`, members)
      const arrivals = [
        ...userSayings.map((saying, i) => ({ saying, id: `${prefix}|u${i}` })),
        ...sayings.map((saying, i) => ({ saying, id: `${prefix}|o${i}` })),
      ].flatMap((arrival) => Array.from({ length: 1 + random(3) * random(2) }, () => arrival))
      await deliver(replicas, shuffle(arrivals, random).map(toChange), random)
      await assertRows(one.database, prefix, userSayings)
      await assertOrganizations(one.database, histories, sayings, userSayings)
    }),
    { numRuns: HISTORIES, seed },
  )
  t.equal(histories, HISTORIES)
  for (const { counts } of replicas) t.equal(counts.conflictRetries, 0, 'no deadlock')
})

function shuffle<T>(items: T[], random: Random): T[] {
  for (let i = items.length - 1; i > 0; i -= 1) {
    const j = random(i + 1)
    ;[items[i], items[j]] = [items[j] as T, items[i] as T]
  }
  return items
}

/** In batches of any size, over several connections of each replica at once. */
async function deliver(replicas: Repository[], changes: Change[], random: Random): Promise<void> {
  const maxBatch = 1 + random(12)
  const lanes = Array.from({ length: LANES }, (_, i) => ({
    repository: replicas[i % replicas.length] as Repository,
    batches: [] as Change[][],
  }))
  while (changes.length > 0) lanes[random(LANES)]?.batches.push(changes.splice(0, 1 + random(maxBatch)))
  await Promise.all(
    lanes.map(async ({ repository, batches }) => {
      for (const batch of batches) {
        for (const result of await repository.apply(batch)) if ('error' in result) throw result.error
      }
    }),
  )
}

function toChange({ saying, id }: { saying: Saying | OrganizationSaying; id: string }): Change {
  const fromEvent = (event: { type: string; timestamp: number; data: object }) =>
    changeFromEvent(event, { id, sentAt: 0, payload: '' }, Date.now())
  if ('kind' in saying) {
    if (saying.kind === 'api') return { user: snapshotFromApi(saying.user) }
    if (saying.kind === 'event') return fromEvent(saying.event)
    return { user: claimsChange({ ...saying, sessionId: null, claims: { ...saying.claims } }) }
  }
  const { said } = saying
  if ('event' in said) return fromEvent(said.event)
  const origin = { askedAt: said.askedAt }
  switch (said.api) {
    case 'organization':
      return { organization: organizationSnapshot(said.json as never, origin) }
    case 'membership':
      return membershipStates(said.json as never, origin)
    case 'role':
      return { role: roleSnapshot(said.json as never, origin) }
    case 'invitation':
      return { invitation: invitationSnapshot(said.json as never, origin) }
  }
}

const VERSION = 'clerk_created_at, clerk_updated_at, clerk_event_at, deleted_at'
const COLUMNS = {
  organizations: `id, name, slug, image_url, public_metadata, created_by, ${VERSION}`,
  organization_memberships: `id, organization_id, user_id, role, permissions, public_metadata, ended_at, ${VERSION}`,
  organization_roles: `id, key, name, permissions, ${VERSION}`,
  organization_invitations: `id, organization_id, email, role, status, user_id, ${VERSION}`,
  living_memberships: 'id, role, permissions',
}

async function assertOrganizations(
  database: TestDatabase,
  history: number,
  sayings: OrganizationSaying[],
  userSayings: Saying[],
) {
  const facts = sayings.flatMap((saying) => saying.facts)
  const deleted = new Map(
    userSayings.flatMap(factsIn).flatMap((fact) => (fact.kind === 'deletion' ? [[fact.userId, fact.eventAt]] : [])) as [
      string,
      number,
    ][],
  )
  const expected = expectedOrganizations(facts, deleted)
  for (const [table, columns] of Object.entries(COLUMNS)) {
    // No row of anybody else: the ids of a history hold its number.
    const sql = `select ${columns} from ${table} where id like '%\\_${history}\\_%' order by id collate "C"`
    assertSame(table, await read(database, sql), expected[table as keyof typeof expected])
  }
  const sql = `select id, first_name, last_name, image_url, email from users where id = 'stranger_${history}'`
  assertSame('strangers', await read(database, sql), expectedStrangers(facts))
}

async function read(database: TestDatabase, sql: string): Promise<Row[]> {
  const inMs = (value: unknown) => (value instanceof Date ? value.getTime() : value)
  return (await database.query<Row>(sql)).map((row) =>
    Object.fromEntries(Object.entries(row).map(([key, value]) => [key, inMs(value)])),
  )
}

function assertSame(table: string, actual: Row[], expected: Row[]): void {
  const text = (row: Row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))
  const [found, wanted] = [actual.map(text), expected.map(text)]
  const wrong = wanted.findIndex((row, i) => row !== found[i])
  if (found.length === wanted.length && wrong === -1) return
  throw new Error(
    `${table}: ${found.length} rows, expected ${wanted.length}; the first that differs:\n  ${found[wrong]}\n  ${wanted[wrong]}`,
  )
}

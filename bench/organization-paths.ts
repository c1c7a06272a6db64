/** The paths of organizations: forward-auth with a token of an active organization, and events about memberships. */
import { readFileSync } from 'node:fs'
import { membershipId, organizationId, scatter, spread, userId } from './bench-user.ts'
import type { Planner, Target } from './paths.ts'
import type { Database } from './postgres.ts'
import { tokenRequest } from './requests.ts'
import { findLedgerFaults } from './row-checks.ts'
import type { BenchEvent, createSigner } from './webhooks.ts'

const VERIFY = '/api/auth/verify?permission=org:posts:read'
const PERMISSIONS = ['org:posts:read', 'org:posts:write', 'org:sys_memberships:read']

/** A member in every organization for these users, with a role, as events leave them. */
async function insertMembers({ query }: Database, numbers: number[]): Promise<void> {
  const ids = [numbers.map(membershipId), numbers.map(organizationId), numbers.map(userId)]
  await query(
    `insert into organization_memberships (id, organization_id, user_id, role, permissions, clerk_updated_at, sync_source)
    select *, 'org:member', $4, now() - interval '60 days', 'webhook' from unnest($1::text[], $2::text[], $3::text[])
    on conflict do nothing`,
    [...ids, PERMISSIONS],
  )
  await query(
    `insert into organizations (id, name, slug, clerk_updated_at, sync_source)
    select distinct id, 'Bench', id, now() - interval '60 days', 'webhook' from unnest($1::text[]) id
    on conflict do nothing`,
    [ids[1]],
  )
  await query(
    `insert into organization_roles (id, key, name, permissions, clerk_updated_at, sync_source)
    values ('role_2Bench', 'org:member', 'Member', $1, now() - interval '60 days', 'webhook') on conflict do nothing`,
    [PERMISSIONS],
  )
}

/** As `profile`, with a condition: the membership is read with user and session, and the answer is empty. */
export const verifyMember: Planner = async ({ options, tokens }, target) => {
  const numbers = spread(options.tokens, options.users)
  await insertMembers(target.database as Database, numbers)
  const requests = numbers.map((number) => tokenRequest('GET', VERIFY, tokens.get(number) as string))
  const first = target.position
  return {
    request: (index) => requests[scatter(first + index, numbers.length)],
    async findFaults({ sent, samples }) {
      target.position += sent
      return samples.flatMap(({ body }) => (body === '' ? [] : `not allowed: ${body}`))
    },
  }
}

/** `organizationMembership.updated`, distinct messages, `updated_at` always newer. */
export const membership: Planner = async (world, target, requests) => {
  const { users, tokens } = world.options
  const all = spread(tokens, users)
  await insertMembers(target.database as Database, all)
  const first = target.position
  const makeEvent = createMembershipEvents(world.sign)
  const events = Array.from(
    { length: requests },
    (_, index): BenchEvent => ({
      sequence: world.nextSequence + index,
      number: all[scatter(first + index, all.length)] as number,
      version: world.firstVersion + world.nextSequence + index,
    }),
  )
  world.nextSequence += requests
  const bytes = events.map(makeEvent)
  return {
    request: (index) => bytes[index],
    async findFaults({ sent }) {
      target.position += sent
      return findFaults(target, events.slice(0, sent))
    },
  }
}

function createMembershipEvents(sign: ReturnType<typeof createSigner>): (event: BenchEvent) => Buffer {
  const file = new URL('../test/fixtures/organizationMembership.updated.json', import.meta.url)
  const recorded = JSON.parse(readFileSync(file, 'utf8'))
  return ({ sequence, number, version }) => {
    const data = {
      ...recorded.data,
      id: membershipId(number),
      updated_at: version,
      organization: { ...recorded.data.organization, id: organizationId(number) },
      public_user_data: { ...recorded.data.public_user_data, user_id: userId(number) },
    }
    return sign(sequence, JSON.stringify({ ...recorded, data, timestamp: version }))
  }
}

async function findFaults({ database, isService }: Target, events: BenchEvent[]): Promise<string[]> {
  if (!database || !isService) return []
  const newest = [...new Map(events.map((event) => [event.number, event])).values()]
  const rows = await database.query<{ id: string }>(
    `select e.id from unnest($1::text[], $2::float8[]) as e (id, version)
    left join organization_memberships m on m.id = e.id
    where m.clerk_updated_at is distinct from to_timestamp(e.version / 1000)::timestamptz(3) limit 3`,
    [newest.map(({ number }) => membershipId(number)), newest.map(({ version }) => version)],
  )
  const faults = rows.map(({ id }) => `${id} has another version than was sent last`)
  return [...faults, ...(await findLedgerFaults(database, events))]
}

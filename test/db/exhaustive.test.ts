/**
 * Small scopes without gaps: every history of a few events over one user, session, organization, membership and role, in every
 * order, in every division into batches, and every event delivered twice. `npm run test:long` takes five events.
 */
import tap, { test } from 'tap'
import type { Change } from '../../src/domain/change.ts'
import { changeFromEvent } from '../../src/resources/received-event.ts'
import {
  joined,
  left,
  type OrganizationEvent,
  organizationChanged,
  organizationDeleted,
  roleChanged,
  roleDeleted,
  userDeleted,
} from '../helpers/organization-events.ts'
import { SECOND, startRepository, T0 } from '../helpers/repository.ts'

const LENGTH = Number(process.env.HISTORY_LENGTH ?? 3)
// Histories that are told side by side: their ids have nothing in common.
const SIDE_BY_SIDE = 400

tap.setTimeout(3_600_000)

const at = (seconds: number) => T0 + seconds * SECOND
const user = (id: string, seconds: number, name: string): OrganizationEvent => ({
  type: 'user.updated',
  timestamp: at(seconds),
  data: { id, first_name: name, created_at: T0, updated_at: at(seconds) },
})
const session = (id: string, userId: string, status: string, seconds: number): OrganizationEvent => ({
  type: status === 'active' ? 'session.created' : 'session.ended',
  timestamp: at(seconds),
  data: { id, user_id: userId, status, created_at: T0, updated_at: at(seconds), user: null },
})

/** What may happen, in the order in which it happens at Clerk; `needs` must have happened before. */
const EVENTS: Record<string, { needs?: string[]; make: (n: string) => OrganizationEvent }> = {
  user1: { make: (n) => user(`user_${n}`, 1, 'One') },
  organization1: { make: (n) => organizationChanged(`org_${n}`, at(2), { name: 'One' }) },
  role1: { make: (n) => roleChanged(`role_${n}`, `org:${n}`, at(3), ['org:role:one']) },
  session1: { make: (n) => session(`sess_${n}`, `user_${n}`, 'active', 4) },
  join: {
    make: (n) =>
      joined(`orgmem_${n}`, `org_${n}`, `user_${n}`, at(5), {
        role: `org:${n}`,
        permissions: ['org:copy:one'],
        organization: { name: 'Embedded', updated_at: at(1) },
        metadata: { seat: 1 },
      }),
  },
  user2: { needs: ['user1'], make: (n) => user(`user_${n}`, 6, 'Two') },
  organization2: { needs: ['organization1'], make: (n) => organizationChanged(`org_${n}`, at(7), { name: 'Two' }) },
  role2: { needs: ['role1'], make: (n) => roleChanged(`role_${n}`, `org:${n}`, at(8), ['org:role:two']) },
  promote: {
    needs: ['join'],
    make: (n) =>
      joined(`orgmem_${n}`, `org_${n}`, `user_${n}`, at(9), {
        role: `org:${n}`,
        permissions: ['org:copy:two'],
        organization: { name: 'Embedded later', updated_at: at(7) },
        user: { first_name: 'Later' },
      }),
  },
  session2: { needs: ['session1'], make: (n) => session(`sess_${n}`, `user_${n}`, 'ended', 10) },
  roleEnd: { needs: ['role1'], make: (n) => roleDeleted(`role_${n}`, at(11)) },
  leave: { needs: ['join'], make: (n) => left(`orgmem_${n}`, `org_${n}`, `user_${n}`, at(12), { role: `org:${n}` }) },
  again: {
    needs: ['leave'],
    make: (n) =>
      joined(`orgmem_${n}_b`, `org_${n}`, `user_${n}`, at(13), { role: `org:${n}`, permissions: ['org:copy:b'] }),
  },
  organizationEnd: { make: (n) => organizationDeleted(`org_${n}`, at(14)) },
  userEnd: { make: (n) => userDeleted(`user_${n}`, at(15)) },
}

function histories(): string[][] {
  const names = Object.keys(EVENTS)
  const found: string[][] = []
  function extend(from: number, history: string[]): void {
    if (history.length > 0) found.push(history)
    if (history.length === LENGTH) return
    for (let i = from; i < names.length; i += 1) {
      const name = names[i] as string
      if ((EVENTS[name]?.needs ?? []).every((need) => history.includes(need))) extend(i + 1, [...history, name])
    }
  }
  extend(0, [])
  return found
}

function* orders<T>(items: T[]): Generator<T[]> {
  if (items.length <= 1) yield items
  for (const [i, item] of items.entries()) {
    if (items.length > 1) for (const rest of orders(items.toSpliced(i, 1))) yield [item, ...rest]
  }
}

/** Every division of so many items into batches: bit `i` ends a batch behind item `i`. */
function* divisions<T>(items: T[]): Generator<T[][]> {
  for (let cuts = 0; cuts < 1 << (items.length - 1); cuts += 1) {
    const batches: T[][] = [[]]
    for (const [i, item] of items.entries()) {
      batches.at(-1)?.push(item)
      if (cuts & (1 << i)) batches.push([])
    }
    yield batches
  }
}

/** The rows in which a history must end, by the contract. */
function expected(history: string[]) {
  const did = (name: string) => history.includes(name)
  const isUserEnded = did('userEnd')
  const isOrganizationEnded = did('organizationEnd')
  const endOf = (own: number | null) => own ?? (isOrganizationEnded ? 14 : isUserEnded ? 15 : null)
  const isMember = did('join')
  const firstName = did('user2')
    ? 'Two'
    : did('user1')
      ? 'One'
      : did('again')
        ? 'Grace'
        : did('promote')
          ? 'Later'
          : 'Grace'
  const name = did('organization2')
    ? 'Two'
    : did('promote')
      ? 'Embedded later'
      : did('organization1')
        ? 'One'
        : 'Embedded'
  const embeddedAgain = did('again') && !did('organization1') && !did('organization2') && !did('promote')
  const role = did('roleEnd')
    ? null
    : did('role2')
      ? { at: 8, permission: 'org:role:two' }
      : did('role1')
        ? { at: 3, permission: 'org:role:one' }
        : null
  const permissions = (since: number, copy: string) => [role && role.at > since ? role.permission : copy]
  const memberships = [
    ...(isMember
      ? [
          {
            id: '',
            ended: endOf(did('leave') ? 12 : null),
            since: did('promote') ? 9 : 5,
            copy: did('promote') ? 'org:copy:two' : 'org:copy:one',
          },
        ]
      : []),
    ...(did('again') ? [{ id: '_b', ended: endOf(null), since: 13, copy: 'org:copy:b' }] : []),
  ]
  return {
    user: isUserEnded ? { name: null, ended: 15 } : isMember || did('user1') ? { name: firstName, ended: null } : null,
    session: did('session1') ? (did('session2') || isUserEnded ? 'ended' : 'active') : null,
    organization: isOrganizationEnded
      ? { name: null, ended: 14 }
      : isMember || did('organization1')
        ? { name: embeddedAgain ? 'Embedded' : name, ended: null }
        : null,
    memberships: memberships.map(({ id, ended }) => ({ id, ended })),
    living: memberships
      .filter(({ ended }) => ended === null)
      .map(({ id, since, copy }) => ({ id, permissions: permissions(since, copy) })),
  }
}

const READ = `select n,
  (select json_build_object('name', first_name, 'ended', extract(epoch from deleted_at - $2)::int) from users where id = 'user_' || n) as user,
  (select status from sessions where id = 'sess_' || n) as session,
  (select json_build_object('name', name, 'ended', extract(epoch from deleted_at - $2)::int) from organizations where id = 'org_' || n) as organization,
  (select coalesce(json_agg(json_build_object('id', substr(id, length('orgmem_' || n) + 1), 'ended', extract(epoch from ended_at - $2)::int) order by id), '[]')
    from organization_memberships where id in ('orgmem_' || n, 'orgmem_' || n || '_b')) as memberships,
  (select coalesce(json_agg(json_build_object('id', substr(id, length('orgmem_' || n) + 1), 'permissions', permissions) order by id), '[]')
    from living_memberships where id in ('orgmem_' || n, 'orgmem_' || n || '_b')) as living
  from unnest($1::text[]) as n`

test(`every history of up to ${LENGTH} events, in every order, batch and duplication, ends in the rows of the model, ends in the rows of the model`, async (t) => {
  const { database, repository } = await startRepository(t, { statementTimeoutMs: 60_000, queryTimeoutMs: 65_000 })
  let told = 0
  let waiting: { n: string; history: string[]; batches: Change[][] }[] = []

  async function tell(): Promise<void> {
    const steps = Math.max(...waiting.map(({ batches }) => batches.length))
    for (let step = 0; step < steps; step += 1) {
      const results = await repository.apply(waiting.flatMap(({ batches }) => batches[step] ?? []))
      for (const result of results) if ('error' in result) throw result.error
    }
    const rows = await database.query(READ, [waiting.map(({ n }) => n), new Date(T0)])
    const found = new Map(rows.map(({ n, ...row }) => [n, row]))
    for (const { n, history, batches } of waiting) {
      const [is, should] = [found.get(n), expected(history)].map((value) => JSON.stringify(value))
      if (is === should) continue
      const order = batches.map((batch) => batch.map(({ message }) => message?.type).join(' ')).join(' | ')
      throw new Error(`${order}\n  ${is}\n  ${should}`)
    }
    told += waiting.length
    waiting = []
    await database.query(
      'truncate users, sessions, organizations, organization_memberships, organization_roles, webhook_events',
    )
  }

  let number = 0
  for (const history of histories()) {
    for (const order of orders(history)) {
      for (const batches of divisions(order)) {
        number += 1
        const n = String(number)
        const toChange = (name: string, isAgain = false): Change => {
          const event = (EVENTS[name] as (typeof EVENTS)[string]).make(n)
          return changeFromEvent(event, { id: `${n}${name}${isAgain}`, sentAt: 0, payload: '' }, Date.now())
        }
        // Each once more as the same message, and once more under an id of its own.
        const again = order.map((name) => toChange(name))
        const replayed = order.map((name) => toChange(name, true))
        const changes = batches.map((batch) => batch.map((name) => toChange(name)))
        waiting.push({ n, history, batches: [...changes, [...again, ...replayed]] })
        if (waiting.length === SIDE_BY_SIDE) await tell()
      }
    }
  }
  if (waiting.length > 0) await tell()
  t.equal(told, number)
  t.comment(`${told} arrivals`)
})

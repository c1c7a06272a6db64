/** What each event about organizations does to the tables, also when it comes too late. */
import { test } from 'tap'
import type { Change } from '../../src/domain/change.ts'
import { missingMembership } from '../../src/resources/membership/change.ts'
import { missingOrganization, organizationSnapshot } from '../../src/resources/organization/change.ts'
import { readReceivedEvent } from '../../src/resources/received-event.ts'
import { readFixture } from '../helpers/fixture.ts'
import {
  changeOf,
  invited,
  joined,
  left,
  type OrganizationEvent,
  organizationChanged,
  organizationDeleted,
  organizationJson,
  roleChanged,
  roleDeleted,
  userDeleted,
} from '../helpers/organization-events.ts'
import { deletion, SECOND, snapshot, startRepository, T0 } from '../helpers/repository.ts'

async function start(t: Parameters<typeof startRepository>[0]) {
  const { database, repository, apply, applyInTurn } = await startRepository(t)
  return {
    database,
    repository,
    apply,
    applyInTurn,
    /** Applies events one after the other. Resolves to their outcomes. */
    send: (...events: OrganizationEvent[]) => applyInTurn(...events.map((event) => changeOf(event))),
    memberships: () =>
      database.query(
        'select id, organization_id, user_id, role, permissions, ended_at from organization_memberships order by id',
      ),
    living: () => database.query('select id, role, permissions from living_memberships order by id'),
  }
}

const EXAMPLES = {
  'organization.created': 'applied',
  'organization.updated': 'applied',
  'organizationMembership.created': 'applied',
  'organizationMembership.updated': 'applied',
  'organizationMembership.deleted': 'applied',
  'role.created': 'applied',
  'role.updated': 'applied',
  'role.deleted': 'applied',
  'organizationInvitation.created': 'applied',
  'organizationInvitation.accepted': 'applied',
  'organizationInvitation.revoked': 'applied',
  'organization.deleted': 'applied',
  'organizationDomain.created': 'ignored',
  'permission.created': 'ignored',
}

test('an event of each type as Clerk sends it is applied or ignored', async (t) => {
  const { database, send } = await start(t)
  for (const [type, outcome] of Object.entries(EXAMPLES)) {
    t.strictSame(await send(readFixture(type)), [outcome], type)
    if (type === 'organizationMembership.updated') {
      t.strictSame(await database.query('select role, permissions, public_metadata from living_memberships'), [
        {
          role: 'org:admin',
          permissions: ['org:posts:delete', 'org:posts:read', 'org:posts:write', 'org:sys_memberships:manage'],
          public_metadata: { seat: 3 },
        },
      ])
      t.strictSame(await database.query('select name, slug, public_metadata, created_by from living_organizations'), [
        {
          name: 'Difference Engines',
          slug: 'difference-engines',
          public_metadata: { tier: 'gold' },
          created_by: 'user_2g7np9XWqTaVbkuyKxD1tzLDdSM',
        },
      ])
    }
    if (type === 'role.updated') {
      t.strictSame(await database.query('select key, name, permissions from organization_roles'), [
        { key: 'org:content_manager', name: 'Content manager', permissions: ['org:posts:publish', 'org:posts:write'] },
      ])
    }
  }
  t.strictSame(await database.query('select * from living_memberships'), [])
  t.strictSame(await database.query('select email, status, user_id from organization_invitations order by id'), [
    { email: 'mary@example.com', status: 'accepted', user_id: 'user_2h8op3Isl1QR7tKu5FGNfaLKEoU' },
    { email: 'mary@example.com', status: 'revoked', user_id: null },
  ])
  t.strictSame(await database.query('select first_name, last_name, email, sync_source from users'), [
    { first_name: 'Grace', last_name: 'Hopper', email: 'grace@example.com', sync_source: 'webhook' },
  ])
})

test('an older event leaves the row unchanged, and a tombstone leaves nothing behind', async (t) => {
  const { database, send } = await start(t)
  const metadata = { public_metadata: { plan: 'pro' } }
  t.strictSame(
    await send(
      organizationChanged('org_1', T0 + 2 * SECOND, { name: 'New', ...metadata }),
      organizationChanged('org_1', T0 + SECOND, { name: 'Old' }),
    ),
    ['applied', 'stale'],
  )
  t.strictSame(await database.query('select name from organizations'), [{ name: 'New' }])
  t.strictSame(
    await send(organizationDeleted('org_1', T0 + 3 * SECOND), organizationChanged('org_1', T0 + 9 * SECOND)),
    ['applied', 'stale'],
  )
  t.strictSame(
    await database.query('select name, slug, image_url, created_by, public_metadata, deleted_at from organizations'),
    [
      {
        name: null,
        slug: null,
        image_url: null,
        created_by: null,
        public_metadata: {},
        deleted_at: new Date(T0 + 3 * SECOND),
      },
    ],
  )
})

test('the organization inside a membership is as old as itself, and older between equals', async (t) => {
  const { database, send } = await start(t)
  const names = async () => (await database.query('select name from organizations')).map(({ name }) => name)
  await send(joined('orgmem_1', 'org_1', 'user_1', T0 + 5 * SECOND, { organization: { name: 'Embedded' } }))
  t.strictSame(await names(), ['Embedded'], 'it makes the row')
  await send(organizationChanged('org_1', T0, { name: 'Event of the same time' }))
  t.strictSame(await names(), ['Event of the same time'])
  t.strictSame(await send(joined('orgmem_1', 'org_1', 'user_1', T0 + 6 * SECOND, { organization: { name: 'Late' } })), [
    'applied',
  ])
  t.strictSame(await names(), ['Event of the same time'])
  await send(
    joined('orgmem_1', 'org_1', 'user_1', T0 + 7 * SECOND, { organization: { name: 'Newer', updated_at: T0 + 1 } }),
  )
  t.strictSame(await names(), ['Newer'])
  await send(joined('orgmem_1', 'org_1', 'user_1', T0 + 8 * SECOND, { organization: { name: '?', updated_at: null } }))
  t.strictSame(await names(), ['Newer'], 'one without a date is older than any')
})

test('the user part of a membership is written only if the user is unknown', async (t) => {
  const { database, apply, send } = await start(t)
  await apply({ user: snapshot('user_1', T0, { firstName: 'Ada' }) }, { user: deletion('user_2', T0) })
  await send(
    joined('orgmem_1', 'org_1', 'user_1', T0 + SECOND),
    joined('orgmem_2', 'org_1', 'user_2', T0 + SECOND),
    joined('orgmem_3', 'org_1', 'user_3', T0 + 2 * SECOND, { user: { username: 'new', first_name: 'New' } }),
    joined('orgmem_3', 'org_1', 'user_3', T0 + SECOND, { user: { username: 'old', first_name: 'Old' } }),
    joined('orgmem_4', 'org_1', 'user_4', T0 + SECOND, { user: { identifier: '+15555550100' } }),
  )
  const people = () => database.query('select id, first_name, username, email from users order by id')
  t.strictSame(await people(), [
    { id: 'user_1', first_name: 'Ada', username: null, email: null },
    { id: 'user_2', first_name: null, username: null, email: null },
    { id: 'user_3', first_name: 'New', username: 'new', email: 'user_3@example.com' },
    { id: 'user_4', first_name: 'Grace', username: null, email: null },
  ])
  await apply({ user: snapshot('user_3', T0 - 9 * SECOND, { firstName: 'Known' }) })
  t.match((await people())[2], { first_name: 'Known', username: null, email: null }, 'any snapshot takes its place')
})

test('a deletion is dated by its envelope, and ends the membership for ever', async (t) => {
  const { memberships, living, send } = await start(t)
  await send(
    joined('orgmem_1', 'org_1', 'user_1', T0 + 5 * SECOND, { role: 'org:admin' }),
    left('orgmem_1', 'org_1', 'user_1', T0 + 6 * SECOND),
  )
  t.match(await memberships(), [{ id: 'orgmem_1', ended_at: new Date(T0 + 6 * SECOND) }])
  t.strictSame(await send(joined('orgmem_1', 'org_1', 'user_1', T0 + 9 * SECOND)), ['stale'])
  t.strictSame(await living(), [])
})

test('a deletion may contain only the id', async (t) => {
  const { memberships, send } = await start(t)
  const bare = (id: string) => ({
    type: 'organizationMembership.deleted',
    timestamp: T0 + SECOND,
    data: { object: 'organization_membership', id, deleted: true },
  })
  t.strictSame(await send(bare('orgmem_1'), joined('orgmem_1', 'org_1', 'user_1', T0 + 9 * SECOND)), [
    'applied',
    'stale',
  ])
  t.match(await memberships(), [{ id: 'orgmem_1', ended_at: new Date(T0 + SECOND) }])
  for (const type of ['organization.deleted', 'organizationMembership.deleted', 'role.deleted']) {
    const body = JSON.stringify({ type, timestamp: T0, data: { deleted: true } })
    t.match(readReceivedEvent({ id: 'msg', sentAt: T0 }, body, T0), { reason: /id/ }, `${type} without an id`)
  }
})

test('joining again is another membership, which a late end of the first does not affect', async (t) => {
  const { living, send } = await start(t)
  await send(
    joined('orgmem_1', 'org_1', 'user_1', T0 + SECOND),
    joined('orgmem_2', 'org_1', 'user_1', T0 + 9 * SECOND, { role: 'org:admin' }),
    left('orgmem_1', 'org_1', 'user_1', T0 + 5 * SECOND),
  )
  t.match(await living(), [{ id: 'orgmem_2', role: 'org:admin' }])
})

for (const [name, end] of [
  ['organization', organizationDeleted('org_1', T0 + 5 * SECOND)],
  ['user', userDeleted('user_1', T0 + 5 * SECOND)],
] as const) {
  test(`the deletion of the ${name} ends its memberships, those that come later too`, async (t) => {
    const { database, memberships, living, send } = await start(t)
    const early = joined('orgmem_1', 'org_1', 'user_1', T0 + SECOND, { metadata: { seat: 1 } })
    const late = joined('orgmem_2', 'org_1', 'user_1', T0 + 9 * SECOND, { metadata: { seat: 2 } })
    await send(early, end, late, joined('orgmem_3', 'org_2', 'user_2', T0 + SECOND))
    t.match(await memberships(), [
      { id: 'orgmem_1', ended_at: new Date(T0 + 5 * SECOND) },
      { id: 'orgmem_2', ended_at: new Date(T0 + 5 * SECOND) },
      { id: 'orgmem_3', ended_at: null },
    ])
    t.match(await living(), [{ id: 'orgmem_3' }])
    t.strictSame(
      await database.query("select distinct public_metadata from organization_memberships where id <> 'orgmem_3'"),
      [{ public_metadata: {} }],
    )
    // Its own end says more than that of the others.
    await send(left('orgmem_1', 'org_1', 'user_1', T0 + 4 * SECOND))
    t.match((await memberships())[0], { ended_at: new Date(T0 + 4 * SECOND) })
  })
}

test('of two memberships of one organization only the newer counts, while the end of the older is late', async (t) => {
  const { send, database, living, repository } = await start(t)
  const again = { createdAt: T0 + 2 * SECOND, role: 'org:admin' }
  await send(
    joined('orgmem_1', 'org_1', 'user_1', T0 + SECOND),
    joined('orgmem_2', 'org_1', 'user_1', T0 + 3 * SECOND, again),
  )
  const isMember = () => database.query("select is_member('org_1', 'user_1') as yes")
  const state = async () =>
    (
      await repository.findAuthState({
        userId: 'user_1',
        sessionId: null,
        organization: { id: 'org_1', role: null, issuedAtMs: T0 },
      })
    ).organization?.membership
  t.match(await living(), [{ id: 'orgmem_2', role: 'org:admin' }])
  t.match(await repository.findOrganizationsOf('user_1'), [{ id: 'org_1', role: 'org:admin' }])
  t.equal((await repository.findOrganizationsOf('user_1')).length, 1)
  t.match(await state(), { role: 'org:admin', endedAt: null })
  await send(left('orgmem_2', 'org_1', 'user_1', T0 + 4 * SECOND, again))
  t.strictSame([await living(), await repository.findOrganizationsOf('user_1')], [[], []])
  t.strictSame(await isMember(), [{ yes: false }])
  t.match(await state(), { endedAt: T0 + 4 * SECOND })
})

test('permissions are those of the role where it is newer, and the copy again once it is deleted', async (t) => {
  const { living, send } = await start(t)
  const permissions = async () => (await living()).map((row) => row.permissions)
  await send(
    roleChanged('role_1', 'org:member', T0 + 2 * SECOND, ['org:posts:edit', 'org:posts:read']),
    joined('orgmem_1', 'org_1', 'user_1', T0 + SECOND, { permissions: ['org:posts:read'] }),
    joined('orgmem_2', 'org_1', 'user_2', T0 + 3 * SECOND, { permissions: ['org:posts:write'] }),
  )
  t.strictSame(await permissions(), [['org:posts:edit', 'org:posts:read'], ['org:posts:write']])
  await send(roleChanged('role_1', 'org:member', T0 + 4 * SECOND, ['org:b:b', 'org:a:a']))
  t.strictSame(await permissions(), [
    ['org:a:a', 'org:b:b'],
    ['org:a:a', 'org:b:b'],
  ])
  await send(roleDeleted('role_1', T0 + 5 * SECOND))
  t.strictSame(await permissions(), [['org:posts:read'], ['org:posts:write']])
})

test('a slug may be used by another organization before the event that frees it', async (t) => {
  const { database, send } = await start(t)
  await send(organizationChanged('org_1', T0, { slug: 'acme' }), organizationChanged('org_2', T0, { slug: 'acme' }))
  await send(organizationChanged('org_1', T0 + 1, { slug: null }))
  t.strictSame(await database.query('select id, slug from organizations order by id'), [
    { id: 'org_1', slug: null },
    { id: 'org_2', slug: 'acme' },
  ])
})

test('an ended invitation stays ended, and its address is erased with the user who accepted it', async (t) => {
  const { database, send } = await start(t)
  await send(
    invited('orginv_1', 'org_1', 'accepted', T0 + SECOND, { user_id: 'user_1' }),
    invited('orginv_1', 'org_1', 'pending', T0 + 2 * SECOND),
    invited('orginv_2', 'org_1', 'revoked', T0, { status: 'pending' }),
    userDeleted('user_1', T0 + 3 * SECOND),
    invited('orginv_3', 'org_1', 'accepted', T0 + SECOND, { user_id: 'user_1' }),
  )
  t.strictSame(await database.query('select id, status, email from organization_invitations order by id'), [
    { id: 'orginv_1', status: 'accepted', email: null },
    { id: 'orginv_2', status: 'revoked', email: 'mary@example.com' },
    { id: 'orginv_3', status: 'accepted', email: null },
  ])
})

test('a later state from Clerk undoes an inferred deletion', async (t) => {
  const { database, apply, living, memberships, send } = await start(t)
  const at = (seconds: number) => T0 + seconds * SECOND
  const fromApi = (askedAt: number): Change => ({
    organization: organizationSnapshot(organizationJson('org_1', T0), { askedAt }),
  })
  await send(joined('orgmem_1', 'org_1', 'user_1', at(1)), organizationChanged('org_1', at(5)))
  t.strictSame(await apply({ organization: missingOrganization('org_1', at(4)) }), ['stale'], 'Clerk spoke later')
  t.strictSame(await apply({ organization: missingOrganization('org_1', at(6)) }), ['applied'])
  t.strictSame(await living(), [])
  t.match(await memberships(), [{ ended_at: null }], 'it ends no membership for ever')
  t.strictSame(await send(organizationChanged('org_1', at(3))), ['stale'])
  t.strictSame(await apply(fromApi(at(7))), ['applied'])
  t.match(await living(), [{ id: 'orgmem_1' }])
  t.match(await database.query('select deleted_at, name from organizations'), [{ deleted_at: null, name: /org_1/ }])

  const known = { id: 'orgmem_1', organizationId: 'org_1', userId: 'user_1' }
  t.strictSame(await apply({ membership: missingMembership(known, at(8)) }), ['applied'])
  t.strictSame(await living(), [])
  await send(joined('orgmem_1', 'org_1', 'user_1', at(9)))
  t.match(await living(), [{ id: 'orgmem_1' }])
  t.strictSame(
    await apply(
      { membership: missingMembership(known, at(10)) },
      changeOf(joined('orgmem_1', 'org_1', 'user_1', at(11))),
    ),
    ['stale', 'applied'],
    'in one batch',
  )
})

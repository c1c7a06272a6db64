/** Backfill and reconcile of organizations, against the emulator's Backend API. */
import { type Test, test } from 'tap'
import { ClerkRefusal } from '../../src/clerk/api-errors.ts'
import { createBackendApi } from '../../src/clerk/backend-api.ts'
import { remainingOfLists } from '../../src/domain/drift.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { backfill } from '../../src/jobs/backfill.ts'
import { type OrganizationsOptions, reconcileOrganizations } from '../../src/jobs/organizations.ts'
import { reconcile } from '../../src/jobs/reconcile.ts'
import { createTestJobDatabase } from '../helpers/job-database.ts'
import { changeOf, organizationDeleted, userDeleted } from '../helpers/organization-events.ts'

async function start(t: Test) {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const api = createBackendApi({
    secretKey: clerk.secretKey,
    apiUrl: clerk.apiUrl,
    maxAttempts: 2,
    firstPauseMs: 1,
    requestsInWindow: 100_000,
  })
  const { database, query } = await createTestJobDatabase(t)
  const { signal } = new AbortController()
  const check = (options: Partial<OrganizationsOptions> = {}) =>
    reconcileOrganizations({ database, api, signal, isFixing: true, findsGone: true, ...options })
  const user = clerk.createUser({ email: 'ada@example.com' })
  const organization = clerk.organizations.create({ name: 'Acme', created_by: user.id })
  const role = clerk.organizations.createRole({ key: 'org:editor', permissions: ['org:posts:edit'] })
  const invitation = clerk.organizations.invite(organization.id, 'mary@example.com')
  const living = () => query('select organization_id, user_id, role from living_memberships order by id')
  return { clerk, api, database, signal, query, check, living, user, organization, role, invitation }
}

const NONE = { count: 0, repaired: 0, sample: [] }
const listed = (checked: number, patch: object = {}) => ({
  checked,
  missing: NONE,
  stale: NONE,
  gone: NONE,
  unusable: [],
  deletionsWithheld: 0,
  ...patch,
})

test('a backfill writes organizations, roles, memberships and invitations after the users', async (t) => {
  const { database, api, signal, query, living, user, organization } = await start(t)
  const result = await backfill({ database, api, signal })
  t.match(result, {
    isComplete: true,
    organizations: {
      organization: { checked: 1, missing: { count: 1, repaired: 1 } },
      role: { checked: 3, missing: { count: 3, repaired: 3 } },
      membership: { checked: 1, missing: { count: 1, repaired: 1 } },
      invitation: { checked: 1, missing: { count: 1, repaired: 1 } },
    },
  })
  t.strictSame(await living(), [{ organization_id: organization.id, user_id: user.id, role: 'org:admin' }])
  t.strictSame(await query('select key from organization_roles order by 1'), [
    { key: 'org:admin' },
    { key: 'org:editor' },
    { key: 'org:member' },
  ])
  t.strictSame(await query('select email, status from organization_invitations'), [
    { email: 'mary@example.com', status: 'pending' },
  ])
})

test('an interrupted backfill continues with the organizations', async (t) => {
  const { database, api, query } = await start(t)
  const stop = new AbortController()
  const interrupted = await backfill({
    database,
    signal: stop.signal,
    api: {
      ...api,
      list: (path, options) => {
        if (path === '/v1/organization_memberships') stop.abort()
        return api.list(path, options)
      },
    },
  })
  t.match(interrupted, { isComplete: false, organizations: null })
  const { signal } = new AbortController()
  t.match(await backfill({ database, api, signal }), {
    isComplete: true,
    users: 0,
    resumedAfter: 1,
    organizations: { membership: { checked: 1 } },
  })
  t.strictSame(await query('select job from sync_state'), [])
})

test('a reconcile finds every difference, and repairs them with --fix', async (t) => {
  const { clerk, check, query, living, user, organization, role, invitation } = await start(t)
  await check()
  const nothing = { organization: listed(1), role: listed(3), membership: listed(1), invitation: listed(1) }
  t.strictSame(await check(), nothing, 'in step')

  clerk.organizations.update(organization.id, { name: 'New name' })
  clerk.organizations.updateRole(role.id, { permissions: [] })
  clerk.organizations.removeMember(organization.id, user.id)
  const again = clerk.organizations.addMember(organization.id, user.id, { role: 'org:editor' })
  clerk.organizations.revokeInvitation(invitation.id)
  const one = (id: string, repaired: number) => ({ count: 1, repaired, sample: [id] })
  const [{ id: endedId }] = (await query('select id from organization_memberships')) as [{ id: string }]
  const drift = (repaired: number) => ({
    organization: listed(1, { stale: one(organization.id, repaired) }),
    role: listed(3, { stale: one(role.id, repaired) }),
    membership: listed(1, { missing: one(again.id, repaired), gone: one(endedId, repaired) }),
    invitation: listed(1, { stale: one(invitation.id, repaired) }),
  })
  const found = await check({ isFixing: false })
  t.strictSame(found, drift(0))
  t.equal(remainingOfLists(found), 5)
  t.strictSame(await check(), drift(1))
  t.strictSame(await check(), nothing)
  t.strictSame(await living(), [{ organization_id: organization.id, user_id: user.id, role: 'org:editor' }])
  t.strictSame(await query('select name from organizations'), [{ name: 'New name' }])
})

test('an object that Clerk no longer lists is deleted after a separate request, and comes back if Clerk lists it again', async (t) => {
  const { clerk, check, query, living, organization, role } = await start(t)
  await check()
  clerk.organizations.delete(organization.id)
  clerk.organizations.deleteRole(role.id)
  const found = await check()
  for (const kind of ['organization', 'role', 'membership', 'invitation'] as const) {
    t.match(found[kind].gone, { count: 1, repaired: 1 }, kind)
  }
  t.strictSame(await living(), [])
  t.strictSame(
    await query(
      `select sync_source from organizations where deleted_at is not null
      union all select sync_source from organization_memberships where deleted_at is not null`,
    ),
    [{ sync_source: 'clerk_api' }, { sync_source: 'clerk_api' }],
  )
  t.equal(remainingOfLists(await check()), 0)
})

test('too many deletions are withheld', async (t) => {
  const { clerk, check, living, organization } = await start(t)
  await check()
  clerk.organizations.delete(organization.id)
  const found = await check({ maxDeletions: 0 })
  t.match(found.membership, { deletionsWithheld: 1, gone: { count: 1, repaired: 0 } })
  t.equal((await living()).length, 1)
})

test('what ended with its organization or its user is not missing at Clerk', async (t) => {
  const { clerk, database, check, organization, user } = await start(t)
  const grace = clerk.createUser({ email: 'grace@example.com' })
  clerk.organizations.addMember(organization.id, grace.id)
  const other = clerk.organizations.create({ name: 'Other', created_by: grace.id })
  const left = clerk.organizations.addMember(other.id, user.id)
  await check()
  clerk.organizations.delete(organization.id)
  await database.repository.apply([changeOf(organizationDeleted(organization.id, Date.now()))])
  clerk.deleteUser(grace.id)
  await database.repository.apply([changeOf(userDeleted(grace.id, Date.now()))])
  clerk.organizations.removeMember(other.id, user.id)
  const { membership } = await check({ maxDeletions: 1 })
  t.match(membership, { gone: { count: 1, repaired: 1, sample: [left.id] }, deletionsWithheld: 0 })
  t.match((await check()).membership, { gone: { count: 0 } })
})

test('a list that cannot be read does not hide the others', async (t) => {
  const { api, check, living } = await start(t)
  const list: typeof api.list = (path, query) =>
    path.includes('roles') ? Promise.reject(new ClerkRefusal(404, path)) : api.list(path, query)
  const report = await check({ api: { ...api, list } })
  t.match(report, { role: { unusable: ['the list of roles'] }, membership: { missing: { repaired: 1 } } })
  t.equal((await living()).length, 1)
})

test('rows are compared in batches', async (t) => {
  const { check, query } = await start(t)
  await query(`insert into organization_roles (id, key, clerk_updated_at, sync_source, created_at)
    select 'role_' || n, 'org:' || n, now(), 'webhook', now() - interval '1 day' from generate_series(1, 1001) n`)
  t.match(await check({ maxDeletions: 1_000, isFixing: false }), {
    role: { gone: { count: 1_001 }, deletionsWithheld: 1_001 },
  })
})

test('a list of several pages is read until two passes agree', async (t) => {
  const { clerk, api, check, query, organization } = await start(t)
  for (let n = 0; n < 500; n += 1) clerk.organizations.invite(organization.id, `guest-${n}@example.com`)
  let pages = 0
  const report = await check({
    api: {
      ...api,
      async list(path, options) {
        const page = await api.list(path, options)
        if (path === '/v1/organization_invitations' && ++pages === 1) {
          // One before the next page goes meanwhile: by the offset, the next page skips an invitation.
          const [first] = page.items as [{ id: string }]
          clerk.organizations.forgetInvitation(first.id)
        }
        return page
      },
    },
  })
  t.equal(pages, 6, 'two pages, three times: the first pass was another list')
  t.equal(report.invitation.missing.repaired, 501)
  t.match(report.invitation.gone, { count: 0 }, 'what has just been written is left to the next one')
  t.match((await check()).invitation.gone, { count: 1, repaired: 1 })
  t.strictSame(
    await query('select count(*)::int from organization_invitations where deleted_at is null'),
    [{ count: 500 }],
    'the one that is gone is gone',
  )
})

test('an instance without organizations has nothing to compare; unreadable objects are reported', async (t) => {
  const { clerk, check, database, api, signal } = await start(t)
  clerk.faults.api = { status: 403, headers: { 'content-type': 'application/json' }, body: '{"errors":[]}' }
  t.match(await check(), { organization: { checked: 0 } })
  clerk.faults.api = { status: 401, headers: { 'content-type': 'application/json' }, body: '{"errors":[]}' }
  await t.rejects(check(), { name: 'ClerkRefusal' })
  const body = JSON.stringify({
    data: [null, { id: 'x' }, { id: 'role_1', key: 'org:x', updated_at: 9e12 }],
    total_count: 3,
  })
  clerk.faults.api = { status: 200, headers: { 'content-type': 'application/json' }, body }
  t.match(await check({ findsGone: false }), { role: { checked: 3, unusable: ['undefined', 'x', 'role_1'] } })
  clerk.faults.api = undefined
  t.match(await reconcile({ database, api, signal, isFixing: true }), {
    state: 'done',
    report: { isComplete: true, organizations: { membership: { checked: 1 } } },
  })
})

/** For a while every webhook is lost. The service asks Clerk what it missed, and the tables end as Clerk is. */
import { test } from 'tap'
import { type Service, startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

async function statesOf({ clerk, database }: Service) {
  const users = await database.query(
    'select id, first_name, banned from users where deleted_at is null order by id collate "C"',
  )
  const members = await database.query(
    'select organization_id, user_id from organization_memberships where ended_at is null order by 1, 2',
  )
  const theirs = [...clerk.users()]
    .map(({ id, first_name, banned }) => ({ id, first_name, banned }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const theirMembers = clerk.organizations
    .memberships()
    .map(({ organization, public_user_data }) => ({
      organization_id: organization.id,
      user_id: public_user_data?.user_id,
    }))
    .toSorted((a, b) => (`${a.organization_id} ${a.user_id}` < `${b.organization_id} ${b.user_id}` ? -1 : 1))
  return { here: JSON.stringify([users, members]), there: JSON.stringify([theirs, theirMembers]) }
}

test('creations, updates, bans, deletions and memberships whose webhooks are all lost', async (t) => {
  const service = await startService(t, {
    settings: { CATCH_UP_INTERVAL_SECONDS: '1' },
    // One a second up to now: the first ones are older than what may still be under way.
    onEmulator: (clerk) => void clerk.seedUsers(400),
  })
  const { clerk, database, call } = service
  const isEqual = async () => {
    const { here, there } = await statesOf(service)
    return here === there
  }
  await waitUntil('the users of before', isEqual)
  const organization = clerk.organizations.create({ name: 'Acme', created_by: [...clerk.users()][9]?.id })
  await waitUntil('the organization', isEqual)
  const [gone, changed, banned, member] = [...clerk.users()].map(({ id }) => id) as [string, string, string, string]

  clerk.webhooks.enabled = false
  const before = { ...clerk.stats.apiRequestsByPath }
  clerk.deleteUser(gone)
  clerk.updateUser(changed, { firstName: 'Ada' })
  clerk.banUser(banned)
  for (let n = 0; n < 30; n += 1) clerk.createUser({ firstName: `New ${n}` })
  clerk.organizations.addMember(organization.id, member)
  const lastBefore = await lastRun(service)
  await waitUntil('all of it', isEqual)
  const asked = (path: string) => (clerk.stats.apiRequestsByPath[path] ?? 0) - (before[path] ?? 0)
  const made = Math.ceil((await lastRun(service)) - lastBefore) + 1
  // Each run lists once or twice and counts once; the search for one deletion takes a few more.
  t.ok(asked('GET /v1/users') <= 2 * made + 4, `${asked('GET /v1/users')} lists in ${made} runs`)
  t.ok(asked('GET /v1/users/count') <= made + 12, `${asked('GET /v1/users/count')} counts in ${made} runs`)

  clerk.organizations.removeMember(organization.id, member)
  await waitUntil('the end of a membership', isEqual)
  t.equal((await call('/readyz')).status, 200)
  t.strictSame(await database.query(`select sync_source from users where id = $1`, [gone]), [
    { sync_source: 'clerk_api' },
  ])
})

/** When the last catch-up began, in seconds since 1970: one begins in a second at most. */
async function lastRun({ database }: Service): Promise<number> {
  const [row] = await database.query<{ at: string }>(
    `select state->>'startedAt' as at from sync_state where job = 'catch-up'`,
  )
  return Date.parse(String(row?.at)) / 1_000
}

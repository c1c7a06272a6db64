/** Organizations on the dashboard and in the metrics. */
import { test } from 'tap'
import { startService } from '../../helpers/service.ts'

const TOKEN = 'dashboard-token-of-a-test'

test('an operator finds the organizations of a user, and the members of an organization', async (t) => {
  const { clerk, call } = await startService(t, { settings: { DASHBOARD_TOKEN: TOKEN } })
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const grace = clerk.createUser({ email: 'grace@example.com' })
  const organization = clerk.organizations.create({ name: 'Acme', created_by: ada.id })
  const other = clerk.organizations.create({ name: 'Other', created_by: ada.id })
  clerk.organizations.addMember(organization.id, grace.id)
  clerk.organizations.removeMember(other.id, ada.id)
  await clerk.webhooks.idle()
  const search = async (query: string) => {
    const headers = { 'content-type': 'application/json' }
    const { body } = await call('/dashboard/api/users/search', {
      method: 'POST',
      token: TOKEN,
      body: JSON.stringify({ query }),
      headers,
    })
    return body
  }
  const theirs = await search('ada@example.com')
  t.match(theirs.users, [{ id: ada.id }])
  t.equal(theirs.memberships.length, 2)
  t.match(theirs.memberships, [
    { organization: 'Acme', role: 'org:admin', endedAt: null },
    { organization: 'Other', endedAt: /Z$/ },
  ])
  const members = await search(organization.id)
  t.strictSame(members.users, [])
  t.strictSame(members.memberships.map(({ email }: { email: string }) => email).sort(), [
    'ada@example.com',
    'grace@example.com',
  ])
  t.match(members.events, [{ type: /^organization\./ }], 'and its events')

  const { body: overview } = await call('/dashboard/api/overview', { token: TOKEN })
  t.match(overview.tables, { organizations: 2, memberships: 3 })
  const { body: metrics } = await call('/metrics')
  t.match(metrics, /^clerk_session_sync_organizations 2$/m)
  t.match(metrics, /^clerk_session_sync_organization_memberships 3$/m)
  t.match(metrics, /^clerk_session_sync_webhook_deliveries_total\{type="organization.created",outcome="applied"\} 2$/m)
})

import type { TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { type Test, test } from 'tap'
import * as bapi from '../bapi.ts'
import { startClerk } from '../start-clerk.ts'

/** What is wrong with an answer, for whoever reads the test's output. */
const faultsOf = (schema: TSchema, body: unknown) =>
  [...Value.Errors(schema, body)].slice(0, 5).map(({ path, message }) => `${path}: ${message}`)

type Answer = object & { data?: unknown[]; total_count?: number }

async function start(t: Test) {
  const clerk = await startClerk(t)
  async function ask(path: string, { method = 'GET', body }: { method?: string; body?: object } = {}) {
    const response = await fetch(`${clerk.apiUrl}/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${clerk.secretKey}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as Answer }
  }
  return { clerk, ask }
}

test('every answer has the fields and types that Clerk documents', async (t) => {
  const { clerk, ask } = await start(t)
  const { organizations } = clerk
  const ada = clerk.createUser({
    email: 'ada@example.com',
    otherEmails: ['a@example.com'],
    phone: '+15550001',
    username: 'ada',
    firstName: 'Ada',
    lastName: 'Lovelace',
    externalId: 'ext_ada',
    imageUrl: 'https://img.example.com/ada',
    publicMetadata: { plan: 'pro' },
    privateMetadata: { a: [1] },
    unsafeMetadata: { b: null },
  })
  clerk.createUser({ email: 'new@example.com', emailVerified: false })
  clerk.createUser({ email: null, username: 'nobody' })
  clerk.seedUsers(2)
  clerk.banUser(clerk.createUser().id)
  const session = clerk.signIn(ada.id)
  clerk.signIn(ada.id, { status: 'pending' })
  const role = organizations.createRole({ key: 'org:editor', permissions: ['org:posts:edit'] })
  const acme = organizations.create({ name: 'Acme', created_by: ada.id })
  organizations.create({ name: 'Without slug', slug: null })
  organizations.addMember(acme.id, clerk.createUser({ phone: '+15550002' }).id, { role: 'org:editor' })
  const invited = organizations.invite(acme.id, 'eve@example.com')
  const accepted = organizations.invite(acme.id, 'bob@example.com')
  organizations.acceptInvitation(accepted.id, clerk.createUser().id)
  organizations.revokeInvitation(organizations.invite(acme.id, 'mallory@example.com').id)

  const answers: [string, TSchema][] = [
    ['/users?limit=500', bapi.Users],
    [`/users?created_at_before=${Date.now()}&order_by=-updated_at`, bapi.Users],
    ['/users/count', bapi.Count],
    [`/users/count?created_at_after=${ada.created_at}`, bapi.Count],
    [`/users/${ada.id}`, bapi.User],
    [`/users/${ada.id}/organization_memberships`, bapi.pageOf(bapi.Membership)],
    ['/instance', bapi.Instance],
    ['/jwks', bapi.Keys],
    [`/sessions/${session.id}`, bapi.Session],
    ['/sessions?paginated=true', bapi.pageOf(bapi.Session)],
    ['/organizations', bapi.pageOf(bapi.Organization)],
    [`/organizations/${acme.id}`, bapi.Organization],
    [`/organizations/${acme.id}/memberships`, bapi.pageOf(bapi.Membership)],
    [`/organizations/${acme.id}/invitations`, bapi.pageOf(bapi.Invitation)],
    [`/organizations/${acme.id}/invitations/${invited.id}`, bapi.Invitation],
    ['/organization_memberships', bapi.pageOf(bapi.Membership)],
    ['/organization_invitations', bapi.pageOf(bapi.Invitation)],
    ['/organization_invitations?status=accepted', bapi.pageOf(bapi.Invitation)],
    ['/organization_roles', bapi.pageOf(bapi.Role)],
    [`/organization_roles/${role.id}`, bapi.Role],
  ]
  for (const [path, schema] of answers) {
    const { status, body } = await ask(path)
    t.equal(status, 200, path)
    t.strictSame(faultsOf(schema, body), [], path)
    const items = Array.isArray(body) ? body : body.data
    if (items) t.ok(items.length > 0, `${path} is not empty`)
  }
  t.equal((await ask('/organization_invitations?status=pending')).body.total_count, 1)

  const writes: [string, object, TSchema][] = [
    [`/users/${ada.id}/ban`, { method: 'POST' }, bapi.User],
    [`/users/${ada.id}/metadata`, { method: 'PATCH', body: { public_metadata: { a: 1 } } }, bapi.User],
    [
      `/organizations/${acme.id}/invitations`,
      { method: 'POST', body: { email_address: 'x@example.com' } },
      bapi.Invitation,
    ],
    [`/organizations/${acme.id}/invitations/${invited.id}/revoke`, { method: 'POST' }, bapi.Invitation],
    [`/organizations/${acme.id}`, { method: 'DELETE' }, bapi.Deleted],
    [`/users/${ada.id}`, { method: 'DELETE' }, bapi.Deleted],
  ]
  for (const [path, options, schema] of writes) {
    const { status, body } = await ask(path, options)
    t.equal(status, 200, path)
    t.strictSame(faultsOf(schema, body), [], path)
  }
})

test('every refusal has the shape that Clerk documents', async (t) => {
  const { clerk, ask } = await start(t)
  const refusals: [string, number][] = [
    ['/users/user_nobody', 404],
    ['/users?limit=501', 422],
    ['/users?order_by=nothing', 422],
    ['/users?starting_after=user_nobody', 422],
    ['/users/count?created_at_after=x', 422],
    ['/organizations/org_none', 404],
    ['/nowhere', 404],
  ]
  for (const [path, expected] of refusals) {
    const { status, body } = await ask(path)
    t.equal(status, expected, path)
    t.strictSame(faultsOf(bapi.Errors, body), [], path)
  }
  const response = await fetch(`${clerk.apiUrl}/v1/users`, { headers: { authorization: 'Bearer sk_test_wrong' } })
  t.equal(response.status, 401)
  t.strictSame(faultsOf(bapi.Errors, await response.json()), [])
})

/** Organizations of the emulator: its Backend API, control calls, events and tokens. */
import { type Test, test } from 'tap'
import { readAuthorization } from '../../src/domain/authorization.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'

async function start(t: Test) {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const call = async (method: string, path: string, body?: object) => {
    const response = await fetch(clerk.url + path, {
      method,
      headers: { authorization: `Bearer ${clerk.secretKey}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
  }
  const api = (method: string, path: string, body?: object) => call(method, `/v1${path}`, body)
  const control = (method: string, path: string, body?: object) => call(method, `/emulator${path}`, body)
  const events = () => clerk.webhooks.deliveries.map(({ type }) => type).filter((type) => !/^(user|session)/.test(type))
  return { clerk, api, control, events, user: clerk.createUser({ email: 'ada@example.com' }) }
}

test('the Backend API makes, lists, changes and deletes organizations and what belongs to them', async (t) => {
  const { api, user, events } = await start(t)
  const { body: acme } = await api('POST', '/organizations', { name: 'Acme Corp', created_by: user.id })
  t.match(acme, { object: 'organization', slug: 'acme-corp', members_count: 1 })
  const path = `/organizations/${acme.id}`
  t.match(await api('PATCH', path, { name: 'New', slug: null }), { status: 200, body: { name: 'New', slug: null } })
  t.match(await api('GET', path), { status: 200, body: { name: 'New' } })
  t.match(await api('POST', `${path}/memberships`, { user_id: user.id }), {
    status: 400,
    body: { errors: [{ code: 'already_a_member_in_organization' }] },
  })
  t.match(await api('PATCH', `${path}/memberships/${user.id}`, { role: 'org:member' }), {
    body: { role: 'org:member', permissions: ['org:sys_memberships:read'] },
  })
  for (const list of [
    `${path}/memberships?user_id=${user.id}`,
    `${path}/memberships`,
    '/organization_memberships',
    `/users/${user.id}/organization_memberships`,
  ]) {
    t.match(await api('GET', list), { body: { data: [{ organization: { id: acme.id } }], total_count: 1 } }, list)
  }
  t.match(await api('DELETE', `${path}/memberships/${user.id}`), { body: { object: 'organization_membership' } })
  t.match(await api('POST', `${path}/memberships`, { user_id: user.id, role: 'org:admin' }), { status: 200 })

  const { body: role } = await api('POST', '/organization_roles', { key: 'org:x', permissions: ['org:a:b'] })
  t.match(role, { permissions: [{ key: 'org:a:b', type: 'custom' }] })
  t.match(await api('POST', '/organization_roles', { key: 'org:x' }), { status: 422 })
  t.match(await api('PATCH', `/organization_roles/${role.id}`, { permissions: [] }), { body: { permissions: [] } })
  t.match(await api('GET', `/organization_roles/${role.id}`), { body: { key: 'org:x' } })
  t.match(await api('GET', '/organization_roles?limit=1'), { body: { data: [{ id: role.id }], total_count: 3 } })
  t.match(await api('DELETE', `/organization_roles/${role.id}`), { body: { deleted: true } })

  const { body: invitation } = await api('POST', `${path}/invitations`, { email_address: 'mary@example.com' })
  t.match(await api('GET', `${path}/invitations/${invitation.id}`), { body: { status: 'pending' } })
  t.match(await api('POST', `${path}/invitations/${invitation.id}/revoke`), { body: { status: 'revoked' } })
  t.match(await api('POST', `${path}/invitations/${invitation.id}/revoke`), { status: 404 })
  t.match(await api('GET', `${path}/invitations`), { body: { total_count: 1 } })
  t.match(await api('GET', '/organization_invitations'), { body: { data: [{ id: invitation.id }] } })

  const { body: second } = await api('POST', '/organizations')
  t.match(
    (await api('GET', '/organizations')).body.data.map(({ id }: { id: string }) => id),
    [second.id, acme.id],
  )
  t.match((await api('GET', '/organizations?order_by=%2Bcreated_at&limit=1')).body, { data: [{ id: acme.id }] })
  t.match(await api('DELETE', path), { body: { deleted: true } })
  t.match(await api('GET', '/organization_memberships'), { body: { total_count: 0 } })
  for (const [method, missing] of [
    ['GET', path],
    ['GET', `${path}/memberships`],
    ['PATCH', `${path}/memberships/${user.id}`],
    ['GET', '/organization_roles/role_x'],
    ['GET', `${path}/invitations/orginv_x`],
  ] as const) {
    t.match(await api(method, missing, method === 'PATCH' ? {} : undefined), { status: 404 }, missing)
  }
  for (const incomplete of [
    `/organizations/${second.id}/memberships`,
    `/organizations/${second.id}/invitations`,
    '/organization_roles',
  ]) {
    t.match(await api('POST', incomplete), { status: 422, body: { errors: [{ code: 'form_param_missing' }] } })
  }
  t.strictSame(events(), [
    'organization.created',
    'organizationMembership.created',
    'organization.updated',
    'organizationMembership.updated',
    'organizationMembership.deleted',
    'organizationMembership.created',
    'role.created',
    'role.updated',
    'role.deleted',
    'organizationInvitation.created',
    'organizationInvitation.revoked',
    'organization.created',
    'organization.deleted',
  ])
})

test('lists are ordered as Clerk allows, and no other way', async (t) => {
  const { clerk } = await start(t)
  const { organizations } = clerk
  const list = async (path: string) => {
    const response = await fetch(`${clerk.apiUrl}/v1/${path}`, {
      headers: { authorization: `Bearer ${clerk.secretKey}` },
    })
    const { data } = (await response.json()) as { data?: Record<string, unknown>[] }
    return { status: response.status, data: data ?? [] }
  }
  const order = async (path: string, field: string) => (await list(path)).data.map((item) => item[field])
  const [b, a, c] = ['b', 'a', 'c'].map((name) => organizations.create({ name, slug: name }).id) as [
    string,
    string,
    string,
  ]
  t.strictSame(await order('organizations', 'name'), ['c', 'a', 'b'], 'newest first')
  t.strictSame(await order('organizations?order_by=created_at', 'name'), ['b', 'a', 'c'])
  t.strictSame(await order('organizations?order_by=name', 'name'), ['a', 'b', 'c'])
  t.strictSame(await order('organizations?order_by=-name&limit=2', 'name'), ['c', 'b'])
  for (const id of [c, b]) {
    for (let n = 0; n < (id === c ? 11 : 2); n += 1) organizations.addMember(id, clerk.createUser().id)
  }
  t.strictSame(await order('organizations?order_by=-members_count', 'id'), [c, b, a], 'numbers by their size')
  for (const email of ['b@example.com', 'a@example.com']) organizations.invite(a, email)
  for (const path of ['organization_invitations', `organizations/${a}/invitations`]) {
    t.strictSame(await order(`${path}?order_by=email_address`, 'email_address'), ['a@example.com', 'b@example.com'])
  }
  organizations.createRole({ key: 'org:aa' })
  t.equal((await order('organization_roles?order_by=key', 'key'))[0], 'org:aa')
  t.equal((await order('organization_roles?order_by=-name', 'name')).length, 3)
  for (const [firstName, lastName] of [
    ['Zoe', 'A'],
    ['Ann', 'B'],
    [null, null],
  ] as const) {
    organizations.addMember(a, clerk.createUser({ firstName, lastName, email: `${firstName}@example.com` }).id)
  }
  const names = async (by: string) =>
    (await order(`organizations/${a}/memberships?order_by=${by}`, 'public_user_data')).map(
      (data) => (data as { first_name: string | null }).first_name,
    )
  t.strictSame(await names('first_name'), ['Ann', 'Zoe', null])
  t.strictSame(await names('last_name'), ['Zoe', 'Ann', null])
  t.strictSame(await names('email_address'), ['Ann', null, 'Zoe'])
  t.strictSame(await names('phone_number'), ['Zoe', 'Ann', null])
  t.strictSame(await names('username'), ['Zoe', 'Ann', null])
  for (const path of [
    'organizations?order_by=slug',
    'organization_memberships?order_by=name',
    'organization_roles?order_by=',
  ]) {
    t.equal((await list(path)).status, 422, path)
  }
})

test('control calls do the same without a key, and choose the organization of a session', async (t) => {
  const { clerk, control, user } = await start(t)
  const { body: acme } = await control('POST', '/organizations', { name: 'Acme' })
  await control('PATCH', `/organizations/${acme.id}`, { name: 'New' })
  await control('POST', `/organizations/${acme.id}/members`, { userId: user.id })
  t.match(await control('PATCH', `/organizations/${acme.id}/members/${user.id}`, { role: 'org:admin' }), {
    status: 200,
  })
  const { body: role } = await control('POST', '/roles', { key: 'org:x' })
  t.match(await control('PATCH', `/roles/${role.id}`, { permissions: ['org:a:b'] }), { status: 200 })
  t.match(await control('DELETE', `/roles/${role.id}`), { status: 200 })
  const guest = clerk.createUser()
  const { body: invitation } = await control('POST', `/organizations/${acme.id}/invitations`, {
    email: 'a@example.com',
  })
  t.match(await control('POST', `/invitations/${invitation.id}/accept`, { userId: guest.id }), {
    body: { status: 'accepted' },
  })
  const { body: other } = await control('POST', `/organizations/${acme.id}/invitations`, { email: 'b@example.com' })
  t.match(await control('DELETE', `/invitations/${other.id}`), { body: { status: 'revoked' } })
  t.match(await control('GET', '/organizations'), {
    body: {
      organizations: [{ name: 'New', members_count: 2 }],
      memberships: [{}, {}],
      roles: [{}, {}],
      invitations: [{}, {}],
    },
  })
  const session = clerk.signIn(user.id)
  t.match(await control('POST', `/sessions/${session.id}/organization`, { organizationId: acme.id }), {
    body: { last_active_organization_id: acme.id },
  })
  t.match(await control('POST', `/sessions/${session.id}/organization`, { organizationId: 'org_x' }), { status: 404 })
  t.match(await control('DELETE', `/organizations/${acme.id}/members/${user.id}`), { status: 200 })
  t.match(await control('DELETE', `/organizations/${acme.id}`), { status: 200 })
})

test('a token names the chosen organization as Clerk does, in version 2', async (t) => {
  const { clerk, user } = await start(t)
  const permissions = ['org:posts:read', 'org:posts:edit', 'org:bills:pay', 'org:bills:read', 'org:sys_profile:manage']
  clerk.organizations.createRole({ key: 'org:editor', permissions })
  const acme = clerk.organizations.create({ name: 'Acme' })
  clerk.organizations.addMember(acme.id, user.id, { role: 'org:editor' })
  const session = clerk.signIn(user.id)
  const read = () => {
    const [, payload = ''] = clerk.sessionToken(session.id).split('.')
    return readAuthorization(JSON.parse(Buffer.from(payload, 'base64url').toString())).organization
  }
  t.equal(read(), null)
  clerk.chooseOrganization(session.id, acme.id)
  t.strictSame(read(), {
    id: acme.id,
    slug: 'acme',
    role: 'org:editor',
    permissions: ['org:bills:pay', 'org:bills:read', 'org:posts:edit', 'org:posts:read'],
  })
  clerk.organizations.removeMember(acme.id, user.id)
  t.equal(read(), null, 'no more')
  clerk.organizations.addMember(acme.id, user.id)
  clerk.organizations.update(acme.id, { slug: null })
  t.match(read(), { role: 'org:member', slug: null, permissions: [] })
  clerk.chooseOrganization(session.id, null)
  t.equal(read(), null)
})

test('a deleted user leaves no membership, a deleted role none of its permissions', async (t) => {
  const { clerk, user } = await start(t)
  const role = clerk.organizations.createRole({ key: 'org:x', permissions: ['org:a:b'] })
  const acme = clerk.organizations.create()
  const guest = clerk.createUser({ username: 'guest' })
  clerk.organizations.addMember(acme.id, user.id, { role: 'org:x' })
  clerk.organizations.addMember(acme.id, guest.id, { public_metadata: { seat: 1 } })
  t.match(clerk.organizations.updateMember(acme.id, guest.id, { public_metadata: { seat: 2 } }), {
    role: 'org:member',
    public_metadata: { seat: 2 },
    public_user_data: { identifier: 'guest' },
  })
  t.match(clerk.organizations.updateRole(role.id, { name: 'X' }), { name: 'X', permissions: [{ key: 'org:a:b' }] })
  clerk.organizations.deleteRole(role.id)
  t.match(
    clerk.organizations.memberships().map(({ role_name, permissions }) => ({ role_name, permissions })),
    [{ role_name: 'org:member' }, { role_name: 'org:x', permissions: [] }],
  )
  t.throws(() => clerk.organizations.addMember(acme.id, clerk.createUser().id, { role: 'org:x' }), {
    message: /resource_not_found/,
  })
  clerk.deleteUser(user.id)
  t.equal(clerk.organizations.memberships().length, 1)
})

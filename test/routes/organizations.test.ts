/** What requests learn of their organization: from the token, and from the rows that are newer. */
import { type Test, test } from 'tap'
import { type CallOptions, type Service, startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const NAMES = ['organization', 'organization-slug', 'role', 'permissions']

async function startMember(t: Test, options: Parameters<typeof startService>[1] = {}) {
  const service = await startService(t, options)
  const { clerk } = service
  const founder = clerk.createUser()
  const user = clerk.createUser({ email: 'ada@example.com' })
  const organization = clerk.organizations.create({ name: 'Acme', created_by: founder.id, public_metadata: { n: 1 } })
  const membership = clerk.organizations.addMember(organization.id, user.id)
  const session = clerk.signIn(user.id)
  clerk.chooseOrganization(session.id, organization.id)
  await clerk.webhooks.idle()
  return { ...service, founder, user, organization, membership, session, ...verifier(service, session.id) }
}

function verifier({ clerk, call }: Service, sessionId: string) {
  const agedClaims = (seconds: number, claims: object = {}) => {
    const iat = Math.floor(Date.now() / 1000) - seconds
    return { iat, nbf: iat, exp: iat + 3600, ...claims }
  }
  return {
    /** A token that was issued so many seconds ago (or will be), with what Clerk knows now. */
    token: (seconds = 0, claims = {}) => clerk.sessionToken(sessionId, { claims: agedClaims(seconds, claims) }),
    async verify(token: string, query = '', options: CallOptions = {}) {
      const { status, headers } = await call(`/api/auth/verify${query}`, { token, ...options })
      const identity = Object.fromEntries(NAMES.map((name) => [name, headers.get(`x-auth-request-${name}`)]))
      return { status, error: headers.get('x-auth-request-error'), ...identity }
    },
  }
}

const NONE = { organization: '', 'organization-slug': '', role: '', permissions: '' }

test('the organization comes from the token, or from rows if they are newer', async (t) => {
  const { clerk, organization, user, token, verify } = await startMember(t)
  const ours = { status: 200, error: null, organization: organization.id, 'organization-slug': 'acme' }
  const old = token(60)
  t.strictSame(
    await verify(old),
    { ...ours, role: 'org:member', permissions: 'org:sys_memberships:read' },
    'the row, which has the system permissions',
  )
  t.strictSame(await verify(token(-3)), { ...ours, role: 'org:member', permissions: '' }, 'a token newer than the row')

  clerk.organizations.updateMember(organization.id, user.id, { role: 'org:admin' })
  clerk.organizations.update(organization.id, { slug: 'new-slug' })
  await clerk.webhooks.idle()
  t.match(await verify(old), { 'organization-slug': 'new-slug', role: 'org:admin' })
  t.match(await verify(old, '?role=org:admin&permission=org:sys_memberships:manage'), { status: 200 })
  t.match(await verify(old, '?role=org:member'), { status: 403, error: 'FORBIDDEN', ...NONE })
  t.match(await verify(old, '?organization=new-slug'), { status: 200 })
  t.match(await verify(old, '?organization=acme'), { status: 403, error: 'FORBIDDEN' })
})

test('a change of a role affects all members who have it', async (t) => {
  const { clerk, organization, user, token, verify } = await startMember(t)
  const role = clerk.organizations.createRole({ key: 'org:editor', permissions: ['org:posts:read'] })
  clerk.organizations.updateMember(organization.id, user.id, { role: 'org:editor' })
  await clerk.webhooks.idle()
  const old = token(60)
  t.match(await verify(old), { role: 'org:editor', permissions: 'org:posts:read' })
  clerk.organizations.updateRole(role.id, { permissions: ['org:posts:read', 'org:posts:edit'] })
  await clerk.webhooks.idle()
  t.match(await verify(old, '?permission=org:posts:edit'), { permissions: 'org:posts:edit,org:posts:read' })
  t.match(await verify(token(-3), '?permission=org:posts:edit'), { status: 200 }, 'the token alone')
  clerk.organizations.deleteRole(role.id)
  await clerk.webhooks.idle()
  t.match(await verify(old), { role: 'org:editor', permissions: 'org:posts:read' }, 'the copy again')
})

test('without rows of the organization the token is used', async (t) => {
  const { verify, token } = await startMember(t)
  const o = { id: 'org_new', slg: 'new', rol: 'admin', per: 'read', fpm: '1' }
  t.strictSame(await verify(token(60, { o, fea: 'o:posts' })), {
    status: 200,
    error: null,
    organization: 'org_new',
    'organization-slug': 'new',
    role: 'org:admin',
    permissions: 'org:posts:read',
  })
  t.strictSame(await verify(token(60, { o: undefined })), { status: 200, error: null, ...NONE })
})

for (const [name, end] of [
  ['membership', (clerk: Service['clerk'], id: string, userId: string) => clerk.organizations.removeMember(id, userId)],
  ['organization', (clerk: Service['clerk'], id: string) => clerk.organizations.delete(id)],
] as const) {
  test(`the end of the ${name} ends what its tokens may do there`, async (t) => {
    const { clerk, call, organization, user, token, verify } = await startMember(t)
    const [old, later] = [token(60), token(-3)]
    t.match(await verify(old), { status: 200 })
    end(clerk, organization.id, user.id)
    await clerk.webhooks.idle()
    t.strictSame(await verify(old), { status: 403, error: 'MEMBERSHIP_ENDED', ...NONE })
    t.match(await verify(old, '?role=org:none'), { error: 'MEMBERSHIP_ENDED' }, 'before FORBIDDEN')
    t.match(
      await verify(later),
      name === 'membership' ? { status: 200 } : { status: 403, error: 'MEMBERSHIP_ENDED' },
      'a token that was issued after the end',
    )
    t.match(await call('/api/auth/profile', { token: old }), { status: 200 })
    t.match(await call('/api/auth/sync-user', { token: old, method: 'POST' }), { status: 200 })
    t.strictSame((await call('/api/auth/organizations', { token: old })).body, { active: null, organizations: [] })
  })
}

test('a member who joins again is a member again', async (t) => {
  const { clerk, organization, user, token, verify } = await startMember(t)
  const old = token(60)
  clerk.organizations.removeMember(organization.id, user.id)
  clerk.organizations.addMember(organization.id, user.id, { role: 'org:admin' })
  await clerk.webhooks.idle()
  t.match(await verify(old), { status: 200, role: 'org:admin' })
})

test('refusals come in the order of the contract', async (t) => {
  const { clerk, organization, user, session, token, verify } = await startMember(t)
  const old = token(60)
  clerk.organizations.removeMember(organization.id, user.id)
  clerk.endSession(session.id)
  await clerk.webhooks.idle()
  t.match(await verify(old, '?role=org:x'), { status: 401, error: 'SESSION_REVOKED' })
  clerk.banUser(user.id)
  await clerk.webhooks.idle()
  t.match(await verify(old, '?role=org:x'), { status: 403, error: 'USER_BANNED' })
})

test('guards with { organization: true } read the membership, others do not', async (t) => {
  const seen: object[] = []
  const { call, clerk, organization, user, token } = await startMember(t, {
    onApp: (app) => {
      app.register(async (routes) => {
        routes.after(() => {
          for (const [url, conditions] of [
            ['/plain', undefined],
            ['/any', { organization: true }],
            ['/admin', { role: 'org:admin' }],
            ['/team', { plan: 'org:team' }],
            ['/export', { feature: 'export' }],
            ['/pro', { plan: 'user:pro' }],
          ] as const) {
            routes.get(
              url,
              { onRequest: (request) => app.requireClerkUser(conditions).call(app, request, {} as never) },
              async (request) => {
                seen.push({ url, organization: request.clerkOrganization })
                return {}
              },
            )
          }
        })
      })
    },
  })
  const old = token(60)
  t.match(await call('/plain', { token: old }), { status: 200 })
  t.match(await call('/any', { token: old }), { status: 200 })
  t.match(await call('/admin', { token: old }), { status: 403, body: { code: 'FORBIDDEN', message: /role org:admin/ } })
  t.strictSame(seen, [
    { url: '/plain', organization: null },
    {
      url: '/any',
      organization: {
        id: organization.id,
        name: 'Acme',
        slug: 'acme',
        role: 'org:member',
        permissions: ['org:sys_memberships:read'],
      },
    },
  ])
  const without = token(60, { o: undefined })
  t.match(await call('/any', { token: without }), {
    status: 403,
    body: { code: 'FORBIDDEN', message: /an active organization/ },
  })
  const entitled = token(60, { pla: 'o:team,u:pro', fea: 'o:export' })
  for (const url of ['/team', '/export', '/pro']) t.match(await call(url, { token: entitled }), { status: 200 }, url)
  clerk.organizations.removeMember(organization.id, user.id)
  await clerk.webhooks.idle()
  t.match(await call('/any', { token: old }), { status: 403, body: { code: 'MEMBERSHIP_ENDED' } })
  t.match(await call('/plain', { token: old }), { status: 200 })
  for (const url of ['/team', '/export'])
    t.match(await call(url, { token: entitled }), { status: 403, body: { code: 'MEMBERSHIP_ENDED' } }, url)
  t.match(await call('/pro', { token: entitled }), { status: 200 }, "a user's own plan does not depend on a membership")
})

test('the organizations of a user are listed by name and then id', async (t) => {
  const { clerk, call, founder, user, organization, membership, token } = await startMember(t)
  const second = clerk.organizations.create({ name: 'Abacus', slug: null, created_by: user.id })
  clerk.organizations.create({ name: 'Not theirs', created_by: founder.id })
  await clerk.webhooks.idle()
  const { status, body, headers } = await call('/api/auth/organizations', { token: token(60) })
  t.equal(status, 200)
  t.equal(headers.get('cache-control'), 'no-store')
  t.equal(body.active, organization.id)
  t.strictSame(
    body.organizations.map(({ name, slug, role }: Record<string, string>) => ({ name, slug, role })),
    [
      { name: 'Abacus', slug: null, role: 'org:admin' },
      { name: 'Acme', slug: 'acme', role: 'org:member' },
    ],
  )
  t.equal(body.organizations[0].id, second.id)
  t.strictSame(body.organizations[1], {
    id: organization.id,
    name: 'Acme',
    slug: 'acme',
    imageUrl: organization.image_url,
    publicMetadata: { n: 1 },
    role: 'org:member',
    permissions: ['org:sys_memberships:read'],
    joinedAt: new Date(membership.created_at).toISOString(),
  })
})

test('an unknown user is synced before the organizations are listed', async (t) => {
  const { call, clerk, database } = await startService(t)
  clerk.webhooks.url = undefined
  const user = clerk.createUser({ email: 'ada@example.com' })
  const token = clerk.sessionToken(clerk.signIn(user.id).id)
  t.match(await call('/api/auth/organizations', { token }), { status: 200, body: { active: null, organizations: [] } })
  t.match(await database.query('select id from users'), [{ id: user.id }])
})

test('once a removal is acknowledged, the member is refused on every replica', async (t) => {
  const one = await startService(t)
  const two = await startService(t, { beside: one })
  const { clerk } = one
  const members = 200
  const organization = clerk.organizations.create({ name: 'Acme' })
  const callers = Array.from({ length: members }, () => {
    const user = clerk.createUser()
    clerk.organizations.addMember(organization.id, user.id)
    const session = clerk.signIn(user.id)
    clerk.chooseOrganization(session.id, organization.id)
    const iat = Math.floor(Date.now() / 1000) - 2
    return { user, token: clerk.sessionToken(session.id, { claims: { iat, nbf: iat, exp: iat + 600 } }) }
  })
  await clerk.webhooks.idle()
  const late: object[] = []
  await Promise.all(
    callers.map(async ({ user, token }) => {
      const verify = (replica: typeof one) => replica.call('/api/auth/verify', { token })
      let isRemoved = false
      let passed = 0
      const callUntilRemoved = async (replica: typeof one) => {
        while (!isRemoved) if ((await verify(replica)).status === 200) passed += 1
      }
      const calling = [callUntilRemoved(one), callUntilRemoved(two)]
      await waitUntil('a call that passes', async () => passed > 0)
      const { id } = clerk.organizations.removeMember(organization.id, user.id)
      const delivery = clerk.webhooks.deliveries.findLast(
        ({ type, body }) => type === 'organizationMembership.deleted' && body.includes(id),
      )
      await waitUntil('the acknowledgement', async () => delivery?.state === 'delivered')
      isRemoved = true
      // Begun after the 200 of the webhook.
      for (const { status, body, headers } of await Promise.all([verify(one), verify(two)])) {
        const error = headers.get('x-auth-request-error')
        if (status !== 403 || error !== 'MEMBERSHIP_ENDED') late.push({ status, error, body })
      }
      await Promise.all(calling)
    }),
  )
  t.strictSame(late, [], 'on no replica')
  t.match(await one.database.query('select count(*)::int from organization_memberships where ended_at is null'), [
    { count: 0 },
  ])
})

/** The OpenAPI description of the webhooks that Clerk sends. */
import { EVENT_TYPES, EVENTS } from '../../resources/index.ts'

const AT = Date.parse('2026-01-02T03:04:05.678Z')

const user = {
  id: 'user_2w5X8yBvTq',
  primary_email_address_id: 'idn_2w5X8yCvTq',
  email_addresses: [{ id: 'idn_2w5X8yCvTq', email_address: 'ada@example.com', verification: { status: 'verified' } }],
  first_name: 'Ada',
  last_name: 'Lovelace',
  username: 'ada',
  image_url: 'https://img.clerk.com/ada',
  public_metadata: { plan: 'pro' },
  banned: false,
  last_sign_in_at: AT,
  created_at: AT,
  updated_at: AT,
}

const session = (status: string) => ({
  id: 'sess_2w5X8yDvTq',
  user_id: user.id,
  client_id: 'client_2w5X8yEvTq',
  status,
  last_active_at: AT,
  expire_at: AT + 7 * 86_400_000,
  created_at: AT,
  updated_at: AT,
  user,
})

const organization = {
  id: 'org_2w5X8yBvTq',
  name: 'Analytical Engines',
  slug: 'analytical-engines',
  image_url: 'https://img.clerk.com/engines',
  public_metadata: { tier: 'gold' },
  created_by: user.id,
  created_at: AT,
  updated_at: AT,
}

const membership = {
  id: 'orgmem_2w5X8yBvTq',
  role: 'org:admin',
  permissions: ['org:posts:edit', 'org:sys_memberships:manage'],
  public_metadata: {},
  organization,
  public_user_data: { user_id: user.id, first_name: 'Ada', last_name: 'Lovelace', identifier: 'ada@example.com' },
  created_at: AT,
  updated_at: AT,
}

const role = {
  id: 'role_2w5X8yBvTq',
  key: 'org:admin',
  name: 'Admin',
  permissions: [{ key: 'org:posts:edit' }],
  created_at: AT,
  updated_at: AT,
}

const invitation = (status: string) => ({
  id: 'orginv_2w5X8yBvTq',
  organization_id: organization.id,
  email_address: 'mary@example.com',
  role: 'org:member',
  status,
  ...(status === 'accepted' && { user_id: user.id }),
  created_at: AT,
  updated_at: AT,
})

const EXAMPLES: Record<string, object> = {
  'user.created': user,
  'user.updated': user,
  'user.deleted': { id: user.id, deleted: true },
  'session.created': session('active'),
  'session.pending': session('pending'),
  'session.ended': session('ended'),
  'session.removed': session('removed'),
  'session.revoked': session('revoked'),
  'organization.created': organization,
  'organization.updated': organization,
  'organization.deleted': { id: organization.id, deleted: true },
  'organizationMembership.created': membership,
  'organizationMembership.updated': membership,
  'organizationMembership.deleted': membership,
  'role.created': role,
  'role.updated': role,
  'role.deleted': { id: role.id, deleted: true },
  'organizationInvitation.created': invitation('pending'),
  'organizationInvitation.accepted': invitation('accepted'),
  'organizationInvitation.revoked': invitation('revoked'),
}

const header = (name: string, description: string) => ({
  in: 'header' as const,
  name,
  description,
  required: true,
  schema: { type: 'string' as const },
})

const describe = (type: string) => ({
  post: {
    tags: ['webhooks'],
    summary: `Clerk sends \`${type}\``,
    description: 'Lists only the fields that are used; Clerk sends more.',
    security: [{ svixSignature: [] }],
    parameters: [
      header('svix-id', 'The message id, the same on every attempt; a message is applied once'),
      header('svix-timestamp', 'Unix seconds; at most 5 minutes off'),
    ],
    requestBody: {
      required: true,
      content: {
        'application/json': {
          schema: EVENTS[type]?.schema,
          example: { type, object: 'event', timestamp: AT, data: EXAMPLES[type] },
        },
      },
    },
    responses: {
      '200': { description: 'Committed; Svix does not send it again. See `POST /clerk` for this and the refusals' },
      default: { description: 'Svix sends it again: after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h' },
    },
  },
})

/** The `webhooks` of the document: each event type that changes something here. */
export function describeWebhooks() {
  const types = EVENT_TYPES
  return Object.fromEntries(types.map((type) => [type, describe(type)]))
}

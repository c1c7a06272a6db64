/** The Backend API's lists of organizations, memberships, roles and invitations. They have offsets but no cursor, and at most 500 items. */
import type { TSchema } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { type Change, isAhead } from '../domain/change.ts'
import type { Versioned } from '../domain/versioned.ts'
import { invitationSnapshot, missingInvitation } from '../resources/invitation/change.ts'
import { ClerkInvitation } from '../resources/invitation/payload.ts'
import { membershipStates, missingMembership } from '../resources/membership/change.ts'
import { ClerkMembership } from '../resources/membership/payload.ts'
import { missingOrganization, organizationSnapshot } from '../resources/organization/change.ts'
import { ClerkOrganization } from '../resources/organization/payload.ts'
import { missingRole, roleSnapshot } from '../resources/role/change.ts'
import { ClerkRole } from '../resources/role/payload.ts'
import { ClerkRefusal } from './api-errors.ts'
import type { BackendApi } from './backend-api.ts'

export const LIST_KINDS = ['organization', 'role', 'membership', 'invitation'] as const
export type ListKind = (typeof LIST_KINDS)[number]

/** The ids of an object that may no longer exist at Clerk. */
export interface KnownObject {
  id: string
  organizationId: string | null
  userId: string | null
}

interface ListReader {
  path: string
  isUsable: (item: unknown) => boolean
  toChange: (item: never, askedAt: number) => Change
  /** Makes the change for an object that Clerk does not know. */
  missing: (known: KnownObject, askedAt: number) => Change
  /** The path that answers 404 for a deleted object, or a list in which it is missing. */
  pathOf: (known: KnownObject) => string
}

const check = (schema: TSchema) => {
  const compiled = TypeCompiler.Compile(schema)
  return (item: unknown) => compiled.Check(item)
}
const part = encodeURIComponent

export const LIST_READERS: Record<ListKind, ListReader> = {
  organization: {
    path: '/v1/organizations',
    isUsable: check(ClerkOrganization),
    toChange: (item, askedAt) => ({ organization: organizationSnapshot(item, { askedAt }) }),
    missing: ({ id }, askedAt) => ({ organization: missingOrganization(id, askedAt) }),
    pathOf: ({ id }) => `/v1/organizations/${part(id)}`,
  },
  role: {
    path: '/v1/organization_roles',
    isUsable: check(ClerkRole),
    toChange: (item, askedAt) => ({ role: roleSnapshot(item, { askedAt }) }),
    missing: ({ id }, askedAt) => ({ role: missingRole(id, askedAt) }),
    pathOf: ({ id }) => `/v1/organization_roles/${part(id)}`,
  },
  membership: {
    path: '/v1/organization_memberships',
    isUsable: check(ClerkMembership),
    toChange: (item, askedAt) => membershipStates(item, { askedAt }),
    missing: (known, askedAt) => ({ membership: missingMembership(known, askedAt) }),
    // A single membership has no path; a user who joined again is listed with another id.
    pathOf: ({ organizationId, userId }) =>
      `/v1/organizations/${part(String(organizationId))}/memberships?user_id=${part(String(userId))}`,
  },
  invitation: {
    path: '/v1/organization_invitations',
    isUsable: check(ClerkInvitation),
    toChange: (item, askedAt) => ({ invitation: invitationSnapshot(item, { askedAt }) }),
    missing: ({ id }, askedAt) => ({ invitation: missingInvitation(id, askedAt) }),
    pathOf: ({ id, organizationId }) => `/v1/organizations/${part(String(organizationId))}/invitations/${part(id)}`,
  },
}

/** A page of a list: the usable objects as changes, and all ids. */
export interface ListPage {
  changes: Change[]
  ids: string[]
  unusable: string[]
  /** Whether this one page is the whole list. */
  isWhole: boolean
}

const PAGE_SIZE = 500

/**
 * Reads a list once from start to end. Rejects with `ClerkRefusal` (403 or 404) if the instance has no organizations.
 */
export async function* readList(api: Pick<BackendApi, 'list'>, kind: ListKind): AsyncGenerator<ListPage> {
  const { path, isUsable, toChange } = LIST_READERS[kind]
  let offset = 0
  for (;;) {
    const askedAt = Date.now()
    const { items } = await api.list(path, { limit: PAGE_SIZE, offset, order_by: '+created_at' })
    const page: ListPage = { changes: [], ids: [], unusable: [], isWhole: offset === 0 && items.length < PAGE_SIZE }
    for (const item of items) {
      const id = String((item as { id?: unknown } | null)?.id)
      page.ids.push(id)
      const change = isUsable(item) ? toChange(item as never, askedAt) : {}
      const state = change[kind] as Versioned | undefined
      if (!state || isAhead(state.version.updatedAt, askedAt)) page.unusable.push(id)
      else page.changes.push(change)
    }
    yield page
    if (items.length < PAGE_SIZE) return
    offset += items.length
  }
}

/** Whether a request for this object shows that it does not exist at Clerk. */
export async function isGone(api: Pick<BackendApi, 'find'>, kind: ListKind, known: KnownObject): Promise<boolean> {
  const body = await api.find(LIST_READERS[kind].pathOf(known))
  if (body === undefined || kind !== 'membership') return body === undefined
  const items = (body as { data?: unknown }).data
  return Array.isArray(items) && !items.some((item) => (item as { id?: unknown } | null)?.id === known.id)
}

/** Whether an error says that this instance has no organizations. */
export const hasNoOrganizations = (error: unknown): boolean =>
  error instanceof ClerkRefusal && (error.status === 403 || error.status === 404)

/** Changes of roles, whose permissions apply to every member with the role. */
import { cleanText } from '../../domain/clean.ts'
import { type EventReader, eventReader, textOf, timeOf } from '../../domain/payload.ts'
import { deletionOf, inferredDeletion, type Origin, originOf, type Versioned } from '../../domain/versioned.ts'
import { DeletedObject } from '../organization/payload.ts'
import { ClerkRole } from './payload.ts'

declare module '../../domain/change.ts' {
  interface States {
    role?: RoleState
  }
}

export interface RoleData {
  /** The key, as in memberships: `org:admin`. */
  key: string | null
  name: string | null
  /** Sorted. */
  permissions: string[]
}
export type RoleState = Versioned<RoleData>

const WIPED: RoleData = { key: null, name: null, permissions: [] }

/** Permissions as they are stored: sorted and without duplicates. */
export const permissionsOf = (permissions: readonly string[]): string[] =>
  [...new Set(permissions.map(cleanText))].sort()

export function roleSnapshot(role: ClerkRole, origin: Origin): RoleState {
  return {
    id: cleanText(role.id),
    ...originOf(origin, timeOf(role.updated_at)),
    createdAt: timeOf(role.created_at),
    deletedAt: null,
    data: {
      key: cleanText(role.key),
      name: textOf(role.name),
      permissions: permissionsOf((role.permissions ?? []).map(({ key }) => key)),
    },
  }
}

/** The state for a role that the Backend API did not know at `askedAt`. */
export const missingRole = (id: string, askedAt: number): RoleState => inferredDeletion(id, askedAt, WIPED)

const changed = (type: string): [string, EventReader] => [
  type,
  eventReader(type, ClerkRole, (data, eventAt) => ({ role: roleSnapshot(data, { eventAt }) })),
]

/** The readers of events about roles. */
export const roleEvents: Record<string, EventReader> = {
  ...Object.fromEntries(['role.created', 'role.updated'].map(changed)),
  'role.deleted': eventReader('role.deleted', DeletedObject, ({ id }, eventAt) => ({
    role: deletionOf(cleanText(id), eventAt, WIPED),
  })),
}

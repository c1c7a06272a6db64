import { versionedResource } from '../../db/versioned.ts'
import { roleEvents } from './change.ts'
import { organizationRoles } from './table.ts'

export const role = versionedResource({ name: 'role', table: organizationRoles, events: roleEvents })

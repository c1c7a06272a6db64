import { versionedResource } from '../../db/versioned.ts'
import { roleEvents } from './change.ts'
import { organizationRoles } from './table.ts'

export const role = versionedResource({
  name: 'role',
  table: organizationRoles,
  events: roleEvents,
  inFeed: {
    entity: 'role',
    visible: [organizationRoles.key, organizationRoles.name, organizationRoles.permissions],
    isThere: (row) => `${row}.deleted_at is null`,
  },
})

import { versionedResource } from '../../db/versioned.ts'
import { organizationEvents } from './change.ts'
import { organizations } from './table.ts'

export const organization = versionedResource({
  name: 'organization',
  table: organizations,
  events: organizationEvents,
})

import { versionedResource } from '../../db/versioned.ts'
import { organizationEvents } from './change.ts'
import { organizations } from './table.ts'

export const organization = versionedResource({
  name: 'organization',
  table: organizations,
  events: organizationEvents,
  inFeed: {
    entity: 'organization',
    visible: [
      organizations.name,
      organizations.slug,
      organizations.imageUrl,
      organizations.publicMetadata,
      organizations.createdBy,
    ],
    isThere: (row) => `${row}.deleted_at is null`,
  },
})

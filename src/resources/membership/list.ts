/** Reads current memberships. */
import { type SQL, sql } from '../../db/drizzle.ts'
import { $, type Executor, milliseconds, type Qualify, statement } from '../../db/statement.ts'
import { parseJson } from '../../domain/clean.ts'
import type { Organization } from '../organization/payload.ts'
import { organizations } from '../organization/table.ts'
import { organizationRoles } from '../role/table.ts'
import { organizationMemberships } from './table.ts'

/** Joins the row of the role as `r`, whose permissions replace those of the membership `m` if it is newer. */
const newerRole = (t: Qualify): SQL => sql`left join lateral (
    select newest.permissions from (
      select permissions, clerk_updated_at, clerk_event_at from ${t(organizationRoles)}
      where key = m.role and deleted_at is null
      order by clerk_updated_at desc, clerk_event_at desc nulls last, id limit 1) newest
    where (newest.clerk_updated_at, coalesce(newest.clerk_event_at, '-infinity'))
      > (m.clerk_updated_at, coalesce(m.clerk_event_at, '-infinity'))) r on true`

/**
 * A condition on the membership `m`: the user has not joined the organization again since. The end of a membership may arrive after
 * the next one of the same user.
 */
const isNewest = (t: Qualify): SQL => sql`not exists (select from ${t(organizationMemberships)} n
    where n.user_id = m.user_id and n.organization_id = m.organization_id and n.clerk_created_at > m.clerk_created_at)`

interface ListedRow {
  id: string
  name: string | null
  slug: string | null
  image_url: string | null
  public_metadata: string
  role: string
  permissions: string[]
  joined_at: number
}

const select = statement<ListedRow>(
  'memberships_of_user',
  (t) => sql`select o.id, o.name, o.slug, o.image_url, o.public_metadata::text, m.role,
    coalesce(r.permissions, m.permissions) as permissions,
    ${milliseconds(sql`coalesce(m.clerk_created_at, m.created_at)`)} as joined_at
  from ${t(organizationMemberships)} m
  join ${t(organizations)} o on o.id = m.organization_id and o.deleted_at is null
  ${newerRole(t)}
  where m.user_id = ${$(1)} and m.ended_at is null and ${isNewest(t)}
  order by o.name, o.id`,
)

/** The organizations of which the user is currently a member, by name and then id. */
export async function findOrganizationsOf(executor: Executor, userId: string): Promise<Organization[]> {
  return (await select(executor, userId)).map((row) => ({
    id: row.id,
    name: row.name,
    slug: row.slug,
    imageUrl: row.image_url,
    // Parsed from text, so that numbers beyond 2^53 are returned exactly.
    publicMetadata: parseJson(row.public_metadata) as Organization['publicMetadata'],
    role: row.role,
    permissions: row.permissions,
    joinedAt: new Date(row.joined_at).toISOString(),
  }))
}

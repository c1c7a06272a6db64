import { notFound, parameterInvalid } from './clerk-error.ts'
import { newId } from './ids.ts'
import { later, permissionJson, type Role, type RolePatch } from './organization-json.ts'

export interface RolesOptions {
  /** Unix ms. */
  now: () => number
  emit: (type: string, data: object) => void
}

// Every instance begins with these (https://clerk.com/docs/guides/organizations/control-access/roles-and-permissions).
const DEFAULT_ROLES = {
  'org:admin': ['org:sys_profile:manage', 'org:sys_memberships:manage', 'org:sys_memberships:read'],
  'org:member': ['org:sys_memberships:read'],
}

/** The roles of an instance, and the events that each change emits. */
export class Roles {
  readonly #options: RolesOptions
  readonly #roles = new Map<string, Role>()

  constructor(options: RolesOptions) {
    this.#options = options
    for (const [key, permissions] of Object.entries(DEFAULT_ROLES)) this.#put({ key, permissions })
  }

  // Newest first, as Clerk lists them.
  list(): Role[] {
    return [...this.#roles.values()].reverse()
  }

  get(id: string): Role {
    const role = this.#roles.get(id)
    if (!role) throw notFound('organization role', id)
    return role
  }

  /** The role with this key. */
  find(key: string): Role {
    const role = this.list().find((one) => one.key === key)
    if (!role) throw notFound('organization role', key)
    return role
  }

  create(patch: RolePatch & { key: string }): Role {
    if (this.list().some(({ key }) => key === patch.key)) throw parameterInvalid('key', patch.key)
    const role = this.#put(patch)
    this.#options.emit('role.created', role)
    return role
  }

  /** Changes the permissions of all who have the role; no event is sent about their memberships. */
  update(id: string, patch: RolePatch): Role {
    const role = this.#put(patch, this.get(id))
    this.#options.emit('role.updated', role)
    return role
  }

  delete(id: string): { object: string; id: string; deleted: true } {
    this.get(id)
    this.#roles.delete(id)
    const deleted = { object: 'role', id, deleted: true as const }
    this.#options.emit('role.deleted', deleted)
    return deleted
  }

  #put({ permissions, ...patch }: RolePatch, former?: Role): Role {
    const now = this.#options.now()
    const role: Role = {
      object: 'role',
      id: newId('role', now),
      key: 'org:role',
      name: patch.key ?? 'Role',
      description: null,
      is_creator_eligible: false,
      permissions: [],
      created_at: now,
      ...former,
      ...patch,
      ...(permissions && { permissions: permissions.map((key) => permissionJson(newId('perm', now), key, now)) }),
      updated_at: former ? later(now, former.updated_at) : now,
    }
    this.#roles.set(role.id, role)
    return role
  }
}

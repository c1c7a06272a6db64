/** The resources that are stored, in the order in which they are written. To add one: CONTRIBUTING.md, "A resource". */
import type { Resource } from '../db/resource.ts'
import type { EventReader } from '../domain/payload.ts'
import { invitation } from './invitation/index.ts'
import { membership } from './membership/index.ts'
import { organization } from './organization/index.ts'
import { role } from './role/index.ts'
import { session } from './session/index.ts'
import { user } from './user/index.ts'

export const resources = [user, session, organization, membership, role, invitation] as readonly Resource[]

/** The readers of all event types that change something. Events of other types are stored in the ledger as ignored. */
export const EVENTS: Readonly<Record<string, EventReader>> = Object.assign({}, ...resources.map(({ events }) => events))

/** The event types that the endpoint in Clerk's dashboard should be subscribed to. */
export const EVENT_TYPES: readonly string[] = Object.keys(EVENTS)

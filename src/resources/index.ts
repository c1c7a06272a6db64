/** What Clerk knows of and we keep, in the order in which it is written. Adding one is adding a folder and a line here. */
import type { Resource } from '../db/resource.ts'
import type { EventReader } from '../domain/payload.ts'
import { invitation } from './invitation/index.ts'
import { membership } from './membership/index.ts'
import { organization } from './organization/index.ts'
import { role } from './role/index.ts'
import { session } from './session/index.ts'
import { user } from './user/index.ts'

export const resources = [user, session, organization, membership, role, invitation] as readonly Resource[]

/** How each type of event is read that changes something here. Every other type is ledgered as ignored. */
export const EVENTS: Readonly<Record<string, EventReader>> = Object.assign({}, ...resources.map(({ events }) => events))

/** Their names: what the endpoint in Clerk's dashboard should be subscribed to. */
export const EVENT_TYPES: readonly string[] = Object.keys(EVENTS)

/** Stories about whose call it is: another account, a second tab, an organization that was left. */
import { type SessionSync, SessionSyncError } from '../../../packages/client/src/index.ts'
import type { Stage } from './stage.ts'
import type { Person, World } from './world.ts'

export interface Scene {
  world: World
  stage: Stage
  person: Person
  sync: SessionSync
  /** Another tab of the same browser. */
  openTab: () => SessionSync
  /** The session that is active at Clerk. */
  clerk: { sessionId: string }
  /** Why sessions were over, as tabs were told. */
  reasons: string[]
}

const STOP_MS = 4_000

/** The code with which the call was refused or given up. */
async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call
    return 'answered'
  } catch (error) {
    if (!(error instanceof SessionSyncError)) throw error
    return error.code
  }
}

/** A call of the first account waits for the database, and meanwhile another account becomes active. */
export async function switchAccount({ world, stage, person, sync, clerk }: Scene): Promise<void> {
  await world.stopDatabase(STOP_MS)
  const call = codeOf(sync.fetch('/api/auth/sync-user', { method: 'POST' }))
  await stage.timeline.until('a 503', ({ lane, status }) => lane === 'browser' && status === 503)
  stage.note('another account is chosen')
  const other = await world.signUp()
  clerk.sessionId = (await world.signIn(other.id)).sessionId
  const sent = stage.requests
  const code = await call
  stage.note(`the call of ${person.name}: ${code}`)
  const sentSince = stage.requests - sent
  stage.meet(other)
  const user = await sync.profile()
  stage.signedIn(user.firstName ?? other.name, user.email ?? '')
  stage.end(
    'signed-in',
    `The call of ${person.name} was waiting for the database when ${other.name} became active. It ended with ${code}: of its retries ${sentSince} went out in the name of ${other.name}.`,
  )
}

/** Two tabs of one browser sync at the same moment, and signing out in one of them ends both. */
export async function openSecondTab({ world, stage, sync, openTab, clerk, reasons }: Scene): Promise<void> {
  const second = openTab()
  stage.note('a second tab opens')
  await Promise.all([sync.syncUser(), second.syncUser(), second.profile()])
  await stage.timeline.until('the change', ({ lane, label }) => lane === 'feed' && label === 'user.created')
  await stage.pause()
  stage.note('one tab signs out')
  await world.revoke(clerk.sessionId)
  await stage.timeline.until('the sign-out', isDelivered('session.revoked'))
  const codes = [await codeOf(sync.profile()), await codeOf(second.profile())]
  stage.show('out', 'You have been signed out', 'In both tabs.')
  stage.end(
    'signed-out',
    `Both tabs were signed in with one row. After the sign-out each was refused (${codes.join(', ')}), and each said so once: ${reasons.length} times in all.`,
  )
}

/** The page acts in an organization, from which its user is removed. */
export async function removeMember({ world, stage, person, sync, clerk }: Scene): Promise<void> {
  stage.note('joins the organization Acme')
  const organization = await world.joinOrganization(person.id, clerk.sessionId)
  await stage.timeline.until('the membership', isDelivered('organizationMembership.created'))
  const allowed = await sync.fetch('/api/auth/verify')
  stage.say(`Allowed in Acme: ${allowed.status}. Now an admin removes ${person.name}…`)
  await stage.pause()
  stage.note('an admin removes the member')
  // The token that the page holds says still that they are a member.
  const held = await world.token(clerk.sessionId)
  await world.removeMember(organization, person.id)
  await stage.timeline.until('the removal', isDelivered('organizationMembership.deleted'))
  const refused = await stage.fetch('/api/auth/verify', { headers: { authorization: `Bearer ${held}` } })
  const { code } = await refused.json()
  const profile = await sync.profile()
  stage.show('in', `Hello, ${profile.firstName ?? person.name}`, 'No longer a member of Acme')
  stage.end(
    'signed-in',
    `Allowed with ${allowed.status}, and refused with ${refused.status} ${code} as soon as the webhook had arrived, although the token still named Acme. ${person.name} stays signed in.`,
  )
}

const isDelivered =
  (type: string) =>
  ({ lane, label, status }: { lane: string; label: string; status?: number }) =>
    lane === 'webhook' && label === type && status === 200

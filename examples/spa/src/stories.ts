/** What can go wrong, and how each story is told. */
import { createSessionSync, SessionSyncError } from '../../../packages/client/src/index.ts'
import { openSecondTab, removeMember, type Scene, switchAccount } from './account-stories.ts'
import { oldBackend } from './old-backend.ts'
import type { Stage } from './stage.ts'
import { spell } from './timeline.ts'
import type { Person, World } from './world.ts'

export interface Story {
  id: string
  title: string
  text: string
  /** What is set at Clerk for the webhooks of the sign-in. */
  switches?: object
  stopsDatabase?: true
  ends?: 'revoke' | 'remove'
  /** What happens once the page is signed in. */
  play?: (scene: Scene) => Promise<void>
}

const ALL = 100
const STOP_MS = 5_000
const NO_SWITCHES = { dropNext: 0, delayNext: { count: 0, ms: 0 }, duplicateNext: 0 }

export const STORIES: Story[] = [
  { id: 'lose', title: 'Lose the webhook', text: 'Clerk sent it. Nobody got it.', switches: { dropNext: ALL } },
  {
    id: 'delay',
    title: 'Delay it 10 s',
    text: 'The user is faster than the webhook.',
    switches: { delayNext: { count: ALL, ms: 10_000 } },
  },
  { id: 'twice', title: 'Deliver it twice', text: 'At the same moment.', switches: { duplicateNext: ALL } },
  { id: 'database', title: 'Stop the database', text: 'For 5 s, in the middle of the sign-in.', stopsDatabase: true },
  { id: 'revoke', title: 'Revoke the session', text: 'The token stays good for an hour.', ends: 'revoke' },
  { id: 'delete', title: 'Delete the user', text: 'While the page is open.', ends: 'remove' },
  { id: 'race', title: 'Everything at once', text: 'Webhook, sync and two pages race.' },
  { id: 'switch', title: 'Switch the account', text: 'While a call of the first one waits.', play: switchAccount },
  { id: 'tabs', title: 'Open a second tab', text: 'Both sign in at once, and one signs out.', play: openSecondTab },
  { id: 'member', title: 'Remove the member', text: 'From the organization, with the page open.', play: removeMember },
  { id: 'none', title: 'Nothing', text: 'A sign-in on a good day.' },
]

/** Stories that an old backend can be told of: those about webhooks. */
export const isForOldBackend = ({ stopsDatabase, ends, play }: Story) => !stopsDatabase && !ends && !play

export interface Telling {
  world: World
  stage: Stage
  story: Story
  /** Nobody is a new user. */
  person: Person | undefined
  isOld: boolean
}

export async function tell({ world, stage, story, person: known, isOld }: Telling): Promise<void> {
  await world.webhooks({ ...NO_SWITCHES, ...story.switches })
  if (story.stopsDatabase) await world.stopDatabase(STOP_MS)
  stage.note(known ? 'signs in at Clerk' : 'signs up at Clerk')
  const person = known ?? (await world.signUp())
  stage.meet(person)
  const { sessionId } = await world.signIn(person.id)
  await world.webhooks(NO_SWITCHES)
  await showWebhooks(world, stage, person)

  if (isOld) return oldBackend({ world, stage, person, sessionId })
  await withService({ world, stage, story, person, sessionId })
}

async function withService({ world, stage, story, person, sessionId }: Told): Promise<void> {
  const reasons: string[] = []
  // What Clerk's script knows in a real page, and shares among its tabs.
  const clerk = { sessionId }
  const openTab = () =>
    createSessionSync({
      baseUrl: location.origin,
      getToken: () => world.token(clerk.sessionId),
      onSignedOut: ({ reason }) => void reasons.push(reason),
      fetch: stage.fetch,
    })
  const sync = openTab()
  stage.show('busy', 'One moment…', 'syncing with the backend')
  // Two pages open, which both ask at once, while the webhook is on its way.
  const race = story.id === 'race' ? [sync.syncUser(), sync.profile()] : []
  const { source, created } = await sync.syncUser()
  await Promise.all(race)
  const user = await sync.profile()
  stage.signedIn(user.firstName ?? person.name, user.email ?? '')
  const after = `Signed in after ${spell(stage.untilSignedInMs)}, no loop.`

  if (story.play) {
    await story.play({ world, stage, person, sync, openTab, clerk, reasons })
  } else if (story.ends) {
    await end({ world, stage, story, person, sessionId }, reasons, () => sync.profile())
  } else if (story.id === 'lose') {
    stage.end(
      'signed-in',
      `${after} The webhook never came; the row was ${created ? 'written' : 'brought up to date'} on the spot${from(source)}.`,
    )
  } else if (story.id === 'delay') {
    stage.say(`${after} The webhook is still on its way: ten seconds…`)
    await untilDelivered(world, stage, person)
    stage.end('signed-in', `${after} The webhook came ten seconds later, and found the row there already.`)
  } else if (story.id === 'twice') {
    await untilDelivered(world, stage, person)
    stage.end('signed-in', `${after} Every webhook came twice, and counted once.`)
  } else if (story.id === 'race') {
    await untilDelivered(world, stage, person)
    await stage.timeline.until('the change', ({ lane }) => lane === 'feed')
    await stage.pause()
    const told = stage.timeline.happenings.filter(({ lane, label }) => lane === 'feed' && label === 'user.created')
    const times = told.length === 1 ? 'once' : `${told.length} times`
    stage.end(
      'signed-in',
      `${after} Webhook, sync and just-in-time sync raced, and the change feed told user.created ${times}.`,
    )
  } else if (story.stopsDatabase) {
    stage.say(`${after} The webhooks are being delivered again…`)
    await stage.timeline.until('a webhook', ({ lane, status }) => lane === 'webhook' && status === 200)
    stage.end(
      'signed-in',
      `${after} While the database was gone the answer was 503 with Retry-After, never 401: the page waited, and so did the webhooks.`,
    )
  } else {
    stage.end('signed-in', `${after} Webhook and sync call raced, and the row is the same whoever wins.`)
  }
}

type Told = Omit<Telling, 'isOld' | 'person'> & { person: Person; sessionId: string }

async function end({ world, stage, story, person, sessionId }: Told, reasons: string[], call: () => Promise<unknown>) {
  await stage.pause()
  const isRevoked = story.ends === 'revoke'
  const type = isRevoked ? 'session.revoked' : 'user.deleted'
  stage.note(isRevoked ? 'an admin revokes the session' : 'an admin deletes the user')
  await (isRevoked ? world.revoke(sessionId) : world.remove(person.id))
  await stage.timeline.until(type, ({ lane, label, status }) => lane === 'webhook' && label === type && status === 200)
  const before = stage.requests
  // Three calls of a busy page: the first is refused, the client keeps the others back.
  for (let i = 0; i < 3; i += 1) {
    await call().catch((error) => {
      if (!(error instanceof SessionSyncError)) throw error
    })
  }
  const sent = stage.requests - before
  stage.show('out', 'You have been signed out', isRevoked ? 'This session was ended.' : 'This account was deleted.')
  const refusal = isRevoked ? '401 SESSION_REVOKED' : '403 USER_DELETED'
  stage.end(
    'signed-out',
    `Signed in, then signed out ${reasons.length === 1 ? 'once' : `${reasons.length} times`}: ${refusal}. The page said why, and of three calls sent ${sent}.`,
  )
}

const from = (source: string) =>
  ({ clerk_api: " from Clerk's API", session_claims: " from the token's claims" })[source] ?? ''

/** What Svix lost or holds back shows nowhere else. */
async function showWebhooks(world: World, stage: Stage, { id }: Person): Promise<void> {
  for (const { type, state, body } of await world.deliveries(id)) {
    const at = sentAt(body)
    if (at < stage.startedAt) continue
    if (state === 'dropped') stage.timeline.add({ lane: 'webhook', at, label: type, outcome: 'lost' })
  }
}

const sentAt = (body: string) => (JSON.parse(body) as { timestamp: number }).timestamp

async function untilDelivered(world: World, stage: Stage, { id }: Person): Promise<void> {
  for (;;) {
    const deliveries = (await world.deliveries(id)).filter(({ body }) => sentAt(body) >= stage.startedAt)
    const attempts = deliveries.reduce((sum, delivery) => sum + delivery.attempts.length, 0)
    const shown = stage.timeline.happenings.filter(({ lane }) => lane === 'webhook').length
    if (deliveries.every(({ state }) => state !== 'pending') && shown >= attempts) return
    await stage.pause()
  }
}

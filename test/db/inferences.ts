/** Lives in which the Backend API at times did not know a user: inferred deletions, and Clerk's later word that undoes them. */
import type { ClerkUserJson } from '../helpers/model.ts'
import type { Random } from './delivery.ts'
import type { Saying } from './history.ts'

/** What a job wrote about one user: an answer of the Backend API with the time of the request, or that there was no user. */
export type JobSaying = { askedAt: number } & (
  | { kind: 'naming'; user: ClerkUserJson }
  | { kind: 'inference'; userId: string }
)
export type Told = Exclude<Saying, { kind: 'api' }> | JobSaying

/**
 * The sayings of one life, each answer of the API dated by when it was asked for, with inferences between them. One is put only
 * where no event from before it is dated after it: envelopes are dated within a second.
 */
export function withInferences(sayings: readonly Saying[], userId: string, random: Random): Told[] {
  const told: Told[] = []
  let clock = 0
  let last: ClerkUserJson | undefined
  for (const [i, saying] of sayings.entries()) {
    clock = Math.max(clock, dateOf(saying))
    if (saying.kind === 'api') told.push({ kind: 'naming', user: saying.user, askedAt: clock })
    else told.push(saying)
    last = userIn(saying) ?? last
    const next = Math.min(...sayings.slice(i + 1).map(dateOf))
    if (!last || next - clock < 10 || random(3) > 0) continue
    clock += 2
    told.push({ kind: 'inference', userId, askedAt: clock })
    if (random(2) === 0) {
      clock += 2
      told.push({ kind: 'naming', user: structuredClone(last), askedAt: clock })
    }
  }
  return told
}

/** The latest date of whatever a saying is dated by, in ms. */
function dateOf(saying: Saying): number {
  if (saying.kind === 'token') return saying.issuedAtSeconds * 1000
  if (saying.kind === 'api') return ms(saying.user.updated_at)
  return Math.max(ms(saying.event.timestamp), ms(userIn(saying)?.updated_at ?? 0))
}

function userIn(saying: Saying): ClerkUserJson | undefined {
  if (saying.kind === 'api') return saying.user
  if (saying.kind === 'token') return undefined
  const { type, data } = saying.event
  if (type === 'user.deleted') return undefined
  return type.startsWith('user.')
    ? (data as ClerkUserJson)
    : ((data as { user: ClerkUserJson | null }).user ?? undefined)
}

const ms = (time: number) => (time < 1e11 ? time * 1000 : time)

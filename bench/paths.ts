/** What is asked on each path, and how the answers and the rows are checked afterwards. */
import { apiLastNameOf, customClaims, emailOf, scatter, spread, userId } from './bench-user.ts'
import type { LoadResult } from './driver.ts'
import type { Options, PathName } from './options.ts'
import { membership, verifyMember } from './organization-paths.ts'
import type { Database } from './postgres.ts'
import { tokenRequest } from './requests.ts'
import { countRows, findLedgerFaults, findRowFaults, findSyncFaults, fingerprint } from './row-checks.ts'
import type { BenchEvent, createEventFactory, createSigner } from './webhooks.ts'

/** One run of a path: its requests, and the check afterwards, which says what is lost or wrong. */
export interface Plan {
  request: (index: number) => Buffer | undefined
  /** Of a mix: whose latencies are told apart. */
  kindOf?: (index: number) => string
  /** Sent before the clock starts, where the requests themselves may not be. */
  warmup?: (index: number) => Buffer | undefined
  findFaults: (result: LoadResult) => Promise<string[]>
}

/** Whom a path is driven against. */
export interface Target {
  /** Undefined for who has no rows. */
  database?: Database
  /** Keeps a ledger, and writes nothing where nothing changed. */
  isService: boolean
  /** Where its rotation over tokens and users stands. */
  position: number
}

export interface World {
  options: Options
  tokens: Map<number, string>
  sign: ReturnType<typeof createSigner>
  makeEvent: ReturnType<typeof createEventFactory>
  /** Of messages and users, counted up over all runs; a version is one too, in ms. */
  nextSequence: number
  nextUser: number
  firstVersion: number
}

export type Planner = (world: World, target: Target, requests: number, connections: number) => Promise<Plan>

export const PROFILE = '/api/auth/profile'
const SYNC_USER = '/api/auth/sync-user'

/** @param isAlone whether nothing else writes meanwhile, so that the rows must stay as they are */
export const readPlanner =
  (method: 'GET' | 'POST', path: string, count: (options: Options) => number, isAlone = true): Planner =>
  async (world, target) => {
    const numbers = spread(count(world.options), world.options.users)
    const requests = numbers.map((number) => tokenRequest(method, path, world.tokens.get(number) as string))
    const isSync = method === 'POST'
    const first = target.position
    const at = (index: number) => scatter(first + index, numbers.length)
    const before = target.database && isAlone && (await fingerprint(target.database, numbers))
    return {
      request: (index) => requests[at(index)],
      async findFaults({ sent, samples }) {
        target.position += sent
        if (!target.database) return []
        const faults = samples.flatMap(({ index, body }) => findReplyFault(body, numbers[at(index)] as number, isSync))
        // The recipe writes at each sync, by design.
        const isWritten = !isAlone || (isSync && !target.isService)
        if (!isWritten && (await fingerprint(target.database, numbers)) !== before) faults.push('rows have changed')
        return faults
      },
    }
  }

/** The next users of the rotation, each once, and their syncs. */
function nextSyncs({ options, tokens }: World, { position }: Target, count: number) {
  const all = spread(options.coldTokens, options.users)
  const numbers = Array.from(
    { length: Math.min(count, all.length) },
    (_, index) => all[scatter(position + index, all.length)] as number,
  )
  return {
    numbers,
    requests: numbers.map((number) => tokenRequest('POST', SYNC_USER, tokens.get(number) as string)),
  }
}

/**
 * Each token once, newer than its row and saying the same: users who come back. Timed to the end.
 * @param isAlone whether nothing else writes meanwhile, so that the rows can be checked
 */
export const syncNew =
  (countOf: (options: Options, requests: number) => number, isAlone = true): Planner =>
  async (world, target, expected) => {
    const { numbers, requests } = nextSyncs(world, target, countOf(world.options, expected))
    await target.database?.query(
      `update users u set clerk_updated_at = now() - interval '60 days', clerk_event_at = u.clerk_updated_at,
      claims_issued_at = null, claims_columns = null, last_name = e.last_name
    from unnest($1::text[], $2::text[]) as e (id, last_name) where u.id = e.id`,
      [numbers.map(userId), numbers.map((number) => customClaims(number).last_name)],
    )
    return {
      warmup: () => undefined,
      request: (index) => requests[index],
      async findFaults({ samples }) {
        target.position += numbers.length
        if (!target.database) return []
        const faults = samples.flatMap(({ index, body }) => findReplyFault(body, numbers[index] as number, true))
        if (!isAlone) return faults
        return [
          ...faults,
          ...(await findSyncFaults(target.database, numbers, (number) => customClaims(number).last_name)),
        ]
      },
    }
  }

/** Each token once, and the Backend API names a newer profile than the row has. Timed to the end. */
const syncApi =
  (delayMs: number): Planner =>
  async (world, target, _requests, connections) => {
    const { seconds, tokens } = world.options
    // About as many as the time allows: no sync is faster than Clerk's answer.
    const count = Math.min(tokens, Math.ceil((connections * seconds * 1000) / (delayMs + 1)))
    const warm = Math.ceil(count / 4)
    const { numbers, requests } = nextSyncs(world, target, warm + count)
    await target.database?.query(
      `update users u set clerk_updated_at = now() - interval '60 days', clerk_event_at = u.clerk_updated_at,
        last_name = 'Before'
      from unnest($1::text[]) as e (id) where u.id = e.id`,
      [numbers.map(userId)],
    )
    return {
      warmup: (index) => (index < warm ? requests[index] : undefined),
      request: (index) => requests[warm + index],
      async findFaults({ samples }) {
        target.position += numbers.length
        if (!target.database) return []
        const wrong = samples.find(({ index, body }) => {
          const { user, source } = JSON.parse(body)
          return user.lastName !== apiLastNameOf(numbers[warm + index] as number) || source !== 'clerk_api'
        })
        const faults = wrong ? [`not from the Backend API: ${wrong.body}`] : []
        return [...faults, ...(await findSyncFaults(target.database, numbers, apiLastNameOf))]
      },
    }
  }

function findReplyFault(body: string, number: number, isSync: boolean): string[] {
  const { user, created, source } = JSON.parse(body)
  if (user.id !== userId(number) || user.email !== emailOf(number)) return [`user ${number} was answered with ${body}`]
  if (isSync && (created || !['database', 'session_claims'].includes(source))) return [`not a sync: ${body}`]
  return []
}

const MOST_EVENTS_IN_MEMORY = 500_000

export const webhook: Planner = async (world, target, requests) => {
  const first = target.position
  const { users } = world.options
  const events = makeEvents(world, requests, (index) => 1 + scatter(first + index, users))
  // So many would fill the memory: they are signed when they are sent, which costs the core of the load 15 µs each.
  const bytes =
    requests > MOST_EVENTS_IN_MEMORY ? undefined : events.map((event) => world.makeEvent('user.updated', event))
  return {
    request: (index) => (bytes ? bytes[index] : events[index] && world.makeEvent('user.updated', events[index])),
    async findFaults({ sent }) {
      target.position += sent
      return findEventFaults(target, events.slice(0, sent))
    },
  }
}

const burst: Planner = async (world, target) => {
  const count = world.options.burstEvents
  const firstUser = world.nextUser
  world.nextUser += count * 2
  const events = makeEvents(world, count * 2, (index) => firstUser + index)
  const bytes = events.map((event) => world.makeEvent('user.created', event))
  const rowsBefore = target.database && (await countRows(target.database))
  const warm = Math.ceil(count / 5)
  return {
    warmup: (index) => (index < warm ? bytes[count + index] : undefined),
    request: (index) => (index < count ? bytes[index] : undefined),
    async findFaults({ sent }) {
      if (!target.database) return []
      const faults = await findEventFaults(target, events.slice(0, sent))
      const rows = await countRows(target.database)
      if (rows !== (rowsBefore as number) + sent + warm) faults.push(`${rows} rows after ${sent} new users`)
      await target.database.query('delete from users where id >= $1', [userId(firstUser)])
      return faults
    },
  }
}

function makeEvents(world: World, count: number, numberOf: (index: number) => number): BenchEvent[] {
  const first = world.nextSequence
  world.nextSequence += count
  return Array.from({ length: count }, (_, index) => ({
    sequence: first + index,
    number: numberOf(index),
    version: world.firstVersion + first + index,
  }))
}

async function findEventFaults({ database, isService }: Target, events: BenchEvent[]): Promise<string[]> {
  if (!database) return []
  const newest = new Map(events.map((event) => [event.number, event]))
  const faults = await findRowFaults(database, [...newest.values()])
  return isService ? [...faults, ...(await findLedgerFaults(database, events))] : faults
}

export const planners: Record<Exclude<PathName, 'mix'>, Planner> = {
  profile: readPlanner('GET', PROFILE, ({ tokens }) => tokens),
  'profile-cold': readPlanner('GET', PROFILE, ({ coldTokens }) => coldTokens),
  'sync-user': readPlanner('POST', SYNC_USER, ({ tokens }) => tokens),
  'sync-new': syncNew(({ tokens }) => tokens),
  webhook,
  burst,
  'sync-api': syncApi(0),
  'sync-api-50': syncApi(50),
  'verify-member': verifyMember,
  membership,
}

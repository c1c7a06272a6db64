/** Changes and repositories for tests of the tables. */
import type { Test } from 'tap'
import { createPool, type Pool, type PoolOptions } from '../../src/db/pool.ts'
import {
  type ChangeResult,
  createRepository,
  type Repository,
  type RepositoryOptions,
} from '../../src/db/repository.ts'
import type { Change, Message } from '../../src/domain/change.ts'
import type { SessionState } from '../../src/resources/session/change.ts'
import {
  EMPTY_PROFILE,
  EMPTY_STATE,
  type Profile,
  type UserClaims,
  type UserDeletion,
  type UserSnapshot,
  type UserState,
} from '../../src/resources/user/change.ts'
import { createDatabase, type TestDatabase } from './database.ts'

export interface TestRepository {
  repository: Repository
  pool: Pool
  database: TestDatabase
  /** Applies the changes in one batch. Resolves to the outcome of each, or the error for which it was refused. */
  apply(...changes: Change[]): Promise<(string | Error)[]>
  /** Applies changes to users one by one. Resolves to their outcomes. */
  applyInTurn(...changes: Change[]): Promise<(string | Error)[]>
}

export interface TestRepositoryOptions extends Partial<PoolOptions> {
  storePayloads?: boolean
  syncMetadata?: RepositoryOptions['syncMetadata']
  /** Another replica: on the same database. */
  database?: TestDatabase
}

/** A repository with a pool of its own. */
export async function startRepository(t: Test, options: TestRepositoryOptions = {}): Promise<TestRepository> {
  const { storePayloads, syncMetadata, database = await createDatabase(t), ...poolOptions } = options
  const pool = createPool({ connectionString: database.url, onError: () => undefined, ...poolOptions })
  t.teardown(() => pool.end())
  const repository = createRepository({ pool, storePayloads, syncMetadata })
  const apply = async (...changes: Change[]) => (await repository.apply(changes)).map(outcomeOf)
  return {
    repository,
    pool,
    database,
    apply,
    async applyInTurn(...changes) {
      const outcomes = []
      for (const change of changes) outcomes.push(...(await apply(change)))
      return outcomes
    },
  }
}

/** Runs SQL of the test's own on a connection of the service's pool, within its limits. Resolves to the rows. */
export async function runOn<Row>(pool: Pool, text: string, values: unknown[] = []): Promise<Row[]> {
  return (await pool.query({ name: '', text, values })).rows as Row[]
}

const outcomeOf = (result: ChangeResult) => ('error' in result ? result.error : result.outcome)

export const T0 = Date.UTC(2026, 0, 2, 3, 4, 5)
export const SECOND = 1000

/** A time in the pattern of `t.match`, which takes any two Dates for the same, but not a Date and a text. */
export const at = (time: number | Date) => new Date(time).toISOString()

export interface SnapshotOptions extends Partial<Profile> {
  eventAt?: number | null
  source?: UserSnapshot['source']
  banned?: boolean
  state?: Partial<UserState>
  askedAt?: number
}

/** A full snapshot; of the Backend API when `eventAt` is null. */
export function snapshot(id: string, updatedAt: number, options: SnapshotOptions = {}): UserSnapshot {
  const {
    eventAt = updatedAt,
    source = eventAt === null ? 'clerk_api' : 'webhook',
    banned = false,
    state = {},
    askedAt,
    ...profile
  } = options
  return {
    kind: 'snapshot',
    id,
    source,
    version: { updatedAt, eventAt },
    profile: { ...EMPTY_PROFILE, ...profile },
    ...EMPTY_STATE,
    ...state,
    banned,
    clerkCreatedAt: T0,
    ...(askedAt !== undefined && { askedAt }),
  }
}

export const claims = (id: string, issuedAt: number, profile: Partial<Profile>): UserClaims => ({
  kind: 'claims',
  id,
  issuedAt,
  profile,
})

export const deletion = (id: string, deletedAt: number): UserDeletion => ({ kind: 'deletion', id, deletedAt })

/** A deletion that was inferred from the Backend API. */
export const inferred = (id: string, deletedAt: number): UserDeletion => ({
  kind: 'deletion',
  id,
  deletedAt,
  source: 'clerk_api',
})

export const session = (
  id: string,
  userId: string,
  status: string,
  updatedAt: number,
  eventAt: number | null = updatedAt,
): SessionState => ({
  id,
  userId,
  status,
  clientId: `client_${id}`,
  version: { updatedAt, eventAt },
  createdAt: T0,
  lastActiveAt: updatedAt,
  expireAt: T0 + 9e8,
  abandonAt: T0 + 9e9,
})

export const message = (id: string, options: Partial<Message> = {}): Message => ({
  id,
  type: 'user.updated',
  objectId: 'user_1',
  eventAt: T0,
  payload: `{"message":"${id}"}`,
  ...options,
})

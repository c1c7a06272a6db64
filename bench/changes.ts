/** What the change feed costs the write path, on and off, and by another kind of trigger; and how fast and how late it pushes. */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { addConsumer } from '../src/db/changes/consumers.ts'
import { setChangeFeed } from '../src/db/changes/enable.ts'
import { createPool } from '../src/db/pool.ts'
import { createRepository } from '../src/db/repository.ts'
import type { Change } from '../src/domain/change.ts'
import { deliverChanges } from '../src/jobs/deliver-changes.ts'
import { watchChanges } from '../src/jobs/watch-changes.ts'
import { createPush, PUSH_CONCURRENCY } from '../src/plugins/changes/push.ts'
import { EMPTY_PROFILE } from '../src/resources/user/change.ts'
import { type Database, startPostgres } from './postgres.ts'

// The usual way to write such a trigger: once a row, whose old and new values are at hand.
const ROW_TRIGGERS = `
create function clerk.tell_row() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare shown text[];
begin
  if tg_op = 'UPDATE' then
    shown := array_remove(array[
      case when old.email is distinct from new.email then 'email' end,
      case when old.email_verified is distinct from new.email_verified then 'email_verified' end,
      case when old.first_name is distinct from new.first_name then 'first_name' end,
      case when old.last_name is distinct from new.last_name then 'last_name' end,
      case when old.username is distinct from new.username then 'username' end,
      case when old.image_url is distinct from new.image_url then 'image_url' end,
      case when old.public_metadata is distinct from new.public_metadata then 'public_metadata' end,
      case when old.banned is distinct from new.banned then 'banned' end], null);
    if shown = '{}' then return null; end if;
  end if;
  insert into clerk.changes (entity, entity_id, op, changed, cause)
  values ('user', new.id, case tg_op when 'INSERT' then 'created' else 'updated' end, coalesce(shown, '{}'),
    nullif(current_setting('clerk_session_sync.cause', true), ''));
  perform pg_notify('clerk_session_sync_changes', 'clerk');
  return null;
end $$;
create trigger tell_row after insert or update on clerk.users for each row execute function clerk.tell_row()`

const KINDS = ['off', 'on', 'on, by row'] as const
const BATCHES = [1, 16, 128]
const USERS = 10_000

interface Scale {
  rounds: number
  seconds: number
}

export interface ChangesFigures {
  /** Changes a second, of `user.created` and `user.updated` webhooks that do change something, by kind and size of batch. */
  writes: { kind: string; type: string; batch: number; perSecond: number; ratioToOff: number }[]
  pushesPerSecond: number
  lagMs: { p50: number; p99: number }
  /** How long a webhook takes beside each kind of receiver, in ms. */
  intake: { receiver: string; p50: number; p99: number }[]
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number

let sent = 0
function webhook(type: 'created' | 'updated'): Change {
  sent += 1
  const at = Date.UTC(2026, 0, 1) + sent
  const id = type === 'created' ? `user_new_${sent}` : `user_${sent % USERS}`
  return {
    message: { id: `msg_${sent}`, type: `user.${type}`, objectId: id, eventAt: at, payload: '{}' },
    user: {
      kind: 'snapshot',
      id,
      source: 'webhook',
      version: { updatedAt: at, eventAt: at },
      profile: { ...EMPTY_PROFILE, email: `${sent}@example.com`, emailVerified: true, firstName: `First ${sent}` },
      banned: false,
      locked: false,
      deprovisioned: false,
      unsafeMetadata: null,
      privateMetadata: null,
      clerkCreatedAt: at,
    },
  }
}

async function prepare(database: Database, kind: (typeof KINDS)[number]) {
  if (kind === 'on') await setChangeFeed(database.url, { isEnabled: true })
  if (kind === 'on, by row') await database.query(ROW_TRIGGERS)
  const pool = createPool({ connectionString: database.url, onError: () => undefined })
  return { kind, url: database.url, pool, ...createRepository({ pool }) }
}

async function measureWrites(
  apply: (changes: Change[]) => Promise<unknown>,
  type: 'created' | 'updated',
  batch: number,
  seconds: number,
) {
  const startedAt = performance.now()
  let count = 0
  // Two at once, as the service does.
  await Promise.all(
    [0, 1].map(async () => {
      while (performance.now() - startedAt < seconds * 1_000) {
        await apply(Array.from({ length: batch }, () => webhook(type)))
        count += batch
      }
    }),
  )
  return count / ((performance.now() - startedAt) / 1_000)
}

export async function runChanges(
  { rounds, seconds }: Scale,
  progress: (text: string) => void,
): Promise<ChangesFigures> {
  const postgres = await startPostgres()
  try {
    const contenders = []
    for (const [i, kind] of KINDS.entries()) {
      contenders.push(await prepare(await postgres.createDatabase(`changes_${i}`, USERS, Date.UTC(2025, 0, 1)), kind))
    }
    const samples = new Map<string, number[]>()
    for (let round = 0; round < rounds; round += 1) {
      for (const type of ['updated', 'created'] as const) {
        for (const batch of BATCHES) {
          for (const { kind, apply } of contenders) {
            const key = JSON.stringify([kind, type, batch])
            const perSecond = await measureWrites(apply, type, batch, seconds)
            samples.set(key, [...(samples.get(key) ?? []), perSecond])
          }
        }
      }
      progress(`round ${round + 1} of ${rounds}`)
    }
    const writes = [...samples].map(([key, values]) => {
      const [kind, type, batch] = JSON.parse(key)
      const off = samples.get(JSON.stringify(['off', type, batch])) as number[]
      return {
        kind,
        type,
        batch,
        perSecond: median(values),
        ratioToOff: median(values.map((value, i) => value / (off[i] as number))),
      }
    })
    const pushing = await measurePush(contenders[1] as (typeof contenders)[number], progress)
    const intake = await measureIntake(contenders[1] as (typeof contenders)[number], rounds)
    for (const { pool } of contenders) await pool.end()
    return { writes, ...pushing, intake }
  } finally {
    await postgres.stop()
  }
}

const PUSHED = 10_000
const LATER = 1_000
const EVERY_MS = 10

async function measurePush(
  { pool, url, apply }: Awaited<ReturnType<typeof prepare>>,
  progress: (text: string) => void,
) {
  const receivedAt = new Map<string, number>()
  const server = createServer(async (request, response) => {
    receivedAt.set(JSON.parse(await text(request)).data.id, performance.now())
    response.writeHead(204).end()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const push = createPush({ url: `http://127.0.0.1:${port}`, secret: `whsec_${randomBytes(32).toString('base64')}` })
  const stop = new AbortController()
  const ignore = () => undefined
  const watch = watchChanges({ pool, connectionString: url, onTrouble: ignore })
  await addConsumer(pool, 'bench')
  for (let i = 0; i < PUSHED; i += 500) await apply(Array.from({ length: 500 }, () => webhook('created')))
  const begunAt = performance.now()
  const delivering = deliverChanges(
    { name: 'bench', deliver: push.deliver, concurrency: PUSH_CONCURRENCY },
    {
      pool,
      watch,
      signal: stop.signal,
      events: { onDelivered: ignore, onFailure: ignore, onLost: ignore, onTrouble: ignore },
    },
  )
  while (receivedAt.size < PUSHED) await sleep(5)
  const pushesPerSecond = PUSHED / ((performance.now() - begunAt) / 1_000)
  progress(`${PUSHED} pushed`)

  const committedAt = new Map<string, number>()
  for (let i = 0; i < LATER; i += 1) {
    const change = webhook('created')
    void apply([change]).then(() => committedAt.set(change.user?.id as string, performance.now()))
    await sleep(EVERY_MS)
  }
  while (receivedAt.size < PUSHED + LATER) await sleep(5)
  stop.abort()
  await watch.end()
  await delivering
  await push.close()
  await new Promise((done) => server.close(done))
  const lags = [...committedAt]
    .map(([id, at]) => Math.max(0, (receivedAt.get(id) as number) - at))
    .sort((a, b) => a - b)
  const at = (share: number) => lags[Math.floor(lags.length * share)] as number
  return { pushesPerSecond, lagMs: { p50: at(0.5), p99: at(0.99) } }
}

const RECEIVERS = {
  none: undefined,
  good: 0,
  'refuses (500)': 500,
  'slow (1 s)': 1_000,
  'answers after 30 s': 30_000,
  hangs: -1,
} as const
const INTAKE_SECONDS = 4

/** How long a webhook takes, 100 a second, beside receivers of every kind: ms, medians over the rounds. */
async function measureIntake(
  { pool, url, apply }: Awaited<ReturnType<typeof prepare>>,
  rounds: number,
): Promise<ChangesFigures['intake']> {
  const samples = new Map<string, { p50: number; p99: number }[]>()
  for (let round = 0; round < rounds; round += 1) {
    for (const [receiver, behaviour] of Object.entries(RECEIVERS)) {
      const end = behaviour === undefined ? undefined : await startBadReceiver({ pool, url }, behaviour)
      const took: number[] = []
      for (let i = 0; i < (INTAKE_SECONDS * 1_000) / EVERY_MS; i += 1) {
        const startedAt = performance.now()
        void apply([webhook('created')]).then(() => took.push(performance.now() - startedAt))
        await sleep(EVERY_MS)
      }
      await sleep(500)
      took.sort((a, b) => a - b)
      const at = (share: number) => took[Math.floor(took.length * share)] as number
      samples.set(receiver, [...(samples.get(receiver) ?? []), { p50: at(0.5), p99: at(0.99) }])
      await end?.()
    }
  }
  return [...samples].map(([receiver, runs]) => ({
    receiver,
    p50: median(runs.map(({ p50 }) => p50)),
    p99: median(runs.map(({ p99 }) => p99)),
  }))
}

async function startBadReceiver(
  { pool, url }: Pick<Awaited<ReturnType<typeof prepare>>, 'pool' | 'url'>,
  behaviour: number,
) {
  const server = createServer(async (request, response) => {
    await text(request)
    if (behaviour === -1) return
    if (behaviour !== 500) await sleep(behaviour)
    response.writeHead(behaviour === 500 ? 500 : 204).end()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const push = createPush({ url: `http://127.0.0.1:${port}`, secret: `whsec_${randomBytes(32).toString('base64')}` })
  const stop = new AbortController()
  const ignore = () => undefined
  const watch = watchChanges({ pool, connectionString: url, onTrouble: ignore })
  const name = randomBytes(4).toString('hex')
  await addConsumer(pool, name)
  const events = { onDelivered: ignore, onFailure: ignore, onLost: ignore, onTrouble: ignore }
  const consumer = { name, deliver: push.deliver, concurrency: PUSH_CONCURRENCY }
  const delivering = deliverChanges(consumer, { pool, watch, signal: stop.signal, events })
  return async () => {
    stop.abort()
    server.closeAllConnections()
    await watch.end()
    await push.close()
    await delivering
    await new Promise((done) => server.close(done))
  }
}

export function reportChanges({ writes, pushesPerSecond, lagMs, intake }: ChangesFigures): string {
  const rows = writes.map(({ type, batch, kind, perSecond, ratioToOff }) => [
    `user.${type}`,
    String(batch),
    kind,
    String(Math.round(perSecond)),
    ratioToOff.toFixed(2),
  ])
  const lines = rows.sort().map((row) => `| ${row.join(' | ')} |`)
  return [
    '| webhooks | a batch | feed | changes/s | × off |',
    '|---|---|---|---|---|',
    ...lines,
    '',
    `Push: ${Math.round(pushesPerSecond)} deliveries/s. From commit to receiver under ${1_000 / EVERY_MS} webhooks/s: p50 ${lagMs.p50.toFixed(1)} ms, p99 ${lagMs.p99.toFixed(1)} ms.`,
    '',
    `| receiver | a webhook takes, p50 | p99 |`,
    '|---|---|---|',
    ...intake.map(({ receiver, p50, p99 }) => `| ${receiver} | ${p50.toFixed(1)} ms | ${p99.toFixed(1)} ms |`),
  ].join('\n')
}

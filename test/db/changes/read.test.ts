import { setTimeout as sleep } from 'node:timers/promises'
import { type Test, test } from 'tap'
import { addConsumer, findPlace } from '../../../src/db/changes/consumers.ts'
import { setChangeFeed } from '../../../src/db/changes/enable.ts'
import { pruneChanges } from '../../../src/db/changes/prune.ts'
import { type FeedEntry, findLatest, readChanges } from '../../../src/db/changes/read.ts'
import { fromCursor, type Position, START, toCursor } from '../../../src/domain/feed.ts'
import { claims, deletion, message, SECOND, session, snapshot, startRepository, T0 } from '../../helpers/repository.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

async function startFeed(t: Test) {
  const started = await startRepository(t)
  await setChangeFeed(started.database.url, { isEnabled: true })
  /** Waits until everything that was committed may be read: other tests write to the same server. */
  const settled = () => waitUntil('nothing held', async () => !(await readChanges(started.pool, START, 1)).isHeld)
  return { ...started, settled }
}

const idsOf = (entries: FeedEntry[]) => entries.map(({ change }) => change.entityId)

test('no reader passes a transaction that has not ended; its changes are read in order', async (t) => {
  const { database, pool, apply, settled } = await startFeed(t)
  const late = await database.connect()
  t.teardown(() => late.release(true))
  await apply({ user: snapshot('user_1', T0) })
  await settled()
  const first = await readChanges(pool, undefined, 10)
  t.strictSame(idsOf(first.entries), ['user_1'])
  await late.query('begin')
  await late.query("insert into clerk.users (id, sync_source) values ('user_late', 'x')")
  await apply({ user: snapshot('user_2', T0) })
  const held = await readChanges(pool, first.next, 10)
  t.match(held, { isHeld: true, hasMore: false, isExpired: false, next: first.next })
  t.strictSame(held.entries, [], 'user_2 was committed, but something may still come before it')
  await late.query('commit')
  await settled()
  const rest = await readChanges(pool, first.next, 10)
  t.strictSame(idsOf(rest.entries), ['user_late', 'user_2'])
  t.match(rest, { isHeld: false })
})

test('a reader can start at the oldest change, at the newest, or between', async (t) => {
  const { pool, apply, settled } = await startFeed(t)
  const empty = await readChanges(pool, undefined, 10)
  t.strictSame(empty.entries, [])
  await apply({ user: snapshot('user_1', T0) })
  await settled()
  t.strictSame(idsOf((await readChanges(pool, empty.next, 10)).entries), ['user_1'], 'from an empty feed on')
  const latest = await findLatest(pool)
  await apply({ user: snapshot('user_2', T0) })
  await apply({ user: snapshot('user_3', T0) })
  await settled()
  t.strictSame(idsOf((await readChanges(pool, latest, 10)).entries), ['user_2', 'user_3'])
  const page = await readChanges(pool, START, 2)
  t.strictSame([idsOf(page.entries), page.hasMore], [['user_1', 'user_2'], true])
  const last = await readChanges(pool, page.next, 1)
  t.strictSame([idsOf(last.entries), last.hasMore], [['user_3'], false])
  t.strictSame(last.entries[0]?.change, {
    id: `chg_${last.entries[0]?.position.seq}`,
    entity: 'user',
    entityId: 'user_3',
    op: 'created',
    changed: [],
    cause: 'clerk_api',
    occurredAt: last.entries[0]?.change.occurredAt,
  })
})

test('a cursor expires only if unread changes were pruned', async (t) => {
  const { pool, apply, database, settled } = await startFeed(t)
  for (const id of ['user_1', 'user_2', 'user_3']) await apply({ user: snapshot(id, T0) })
  await settled()
  const { entries } = await readChanges(pool, START, 10)
  const [one, two, three] = entries.map(({ position }) => position) as [Position, Position, Position]
  await database.query(
    `update changes set occurred_at = now() - interval '8 days' where entity_id in ('user_1', 'user_2')`,
  )
  t.equal(await pruneChanges(pool, 7), 2)
  t.equal((await readChanges(pool, one, 10)).isExpired, true)
  t.equal((await readChanges(pool, two, 10)).isExpired, false, 'read up to what was pruned')
  t.equal((await readChanges(pool, undefined, 10)).isExpired, false, 'without a cursor from the oldest kept')
  await database.query(`update changes set occurred_at = now() - interval '8 days'`)
  await pruneChanges(pool, 7)
  t.equal((await readChanges(pool, two, 10)).isExpired, true)
  t.equal((await readChanges(pool, three, 10)).isExpired, false)
  t.equal(
    (await readChanges(pool, { xid: String(2n ** 60n), seq: '1' }, 10)).isExpired,
    true,
    'of another life of the database',
  )
})

test('of two concurrent prunings one runs; a recent change keeps all later ones', async (t) => {
  const { pool, apply, database, settled } = await startFeed(t)
  for (let i = 0; i < 1_500; i += 500) {
    await apply(...Array.from({ length: 500 }, (_, j) => ({ user: snapshot(`user_${i + j}`, T0) })))
  }
  await settled()
  await database.query(`update changes set occurred_at = now() - interval '8 days' where entity_id <> 'user_1499'`)
  const counts = await Promise.all([pruneChanges(pool, 7), pruneChanges(pool, 7)])
  t.equal(counts[0] + counts[1], 1_499)
  t.equal((await database.query('select from changes')).length, 1)
})

test('consumers continue after a restore into a server with lower transaction ids', async (t) => {
  const { pool, apply, database, settled } = await startFeed(t)
  for (const id of ['user_1', 'user_2', 'user_3']) await apply({ user: snapshot(id, T0) })
  await settled()
  const [{ position } = { position: START }] = (await readChanges(pool, START, 1)).entries
  await addConsumer(pool, 'test')
  await database.query('update change_consumers set xid = $1, seq = $2', [String(2n ** 50n), position.seq])
  await database.query('update changes set xid = $1', [String(2n ** 50n)])
  t.match(await readChanges(pool, START, 10), { entries: [], isHeld: true })
  await setChangeFeed(database.url, { isEnabled: true })
  await settled()
  t.equal((await readChanges(pool, position, 10)).isExpired, true, 'a cursor of before')
  t.strictSame(idsOf((await readChanges(pool, await findPlace(pool, 'test'), 10)).entries), ['user_2', 'user_3'])
  await apply({ user: snapshot('user_4', T0) })
  await settled()
  const whole = await readChanges(pool, undefined, 10)
  t.strictSame(idsOf(whole.entries), ['user_1', 'user_2', 'user_3', 'user_4'])
  t.equal((await readChanges(pool, whole.entries[0]?.position, 10)).isExpired, false)
})

test('a cursor contains its whole position, and nothing else is accepted', async (t) => {
  for (const position of [
    START,
    { xid: '1', seq: '0' },
    { xid: String(2n ** 64n - 1n), seq: String(2n ** 63n - 1n) },
  ]) {
    t.strictSame(fromCursor(toCursor(position)), position)
  }
  const { xid, seq } = { xid: (2n ** 64n).toString(36), seq: (2n ** 63n).toString(36) }
  for (const wrong of [
    '',
    'c1',
    'c1..',
    'c1.1',
    'c1.01.1',
    'c1.-1.1',
    'c1.1.1 ',
    `c1.${xid}.1`,
    `c1.1.${seq}`,
    'c2.1.1',
    'C1.1.1',
  ]) {
    t.equal(fromCursor(wrong), undefined, wrong)
  }
})

const AUDIT = `
create table public.audit (n bigserial, entity text, id text, was jsonb, is_now jsonb);
create function public.audit() returns trigger language plpgsql security definer as $$
declare shown text[] := string_to_array(tg_argv[1], ',');
begin
  insert into public.audit (entity, id, was, is_now) values (tg_argv[0], coalesce(new.id, old.id),
    (select jsonb_object_agg(key, value) from jsonb_each(to_jsonb(old)) where key = any(shown)),
    (select jsonb_object_agg(key, value) from jsonb_each(to_jsonb(new)) where key = any(shown)));
  return null;
end $$;
create trigger audit after insert or update or delete on clerk.users for each row execute function public.audit('user',
  'email,email_verified,first_name,last_name,username,image_url,public_metadata,banned,deleted_at');
create trigger audit after insert or update or delete on clerk.sessions for each row execute function public.audit('session',
  'user_id,status,client_id')`

const FINAL = ['ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired']
type Row = Record<string, unknown> | null

/** What should be told of a row, by what it was and is. Written without the code that it tests. */
function expectedOf(entity: string, was: Row, now: Row): string | undefined {
  const there = (row: Row) =>
    row !== null && (entity === 'user' ? row.deleted_at === null : !FINAL.includes(row.status as string))
  if (!there(was)) return there(now) ? 'created' : undefined
  if (!there(now)) return 'deleted'
  const names = Object.keys(now as object).filter(
    (name) => name !== 'deleted_at' && JSON.stringify(now?.[name]) !== JSON.stringify(was?.[name]),
  )
  return names.length > 0 ? `updated ${names.sort().join()}` : undefined
}

test('a reader from any position gets the full history of every row, while replicas and others write and commit late', async (t) => {
  const { database, pool, apply, settled } = await startFeed(t)
  const other = await startRepository(t, { database })
  await database.query(AUDIT)
  const random = (n: number) => Math.floor(Math.random() * n)
  const user = () => `user_${random(6)}`
  let clock = T0
  let isOver = false

  const change = (n: number) => {
    clock += random(3) * SECOND
    const id = user()
    const named = { email: `${random(3)}@example.com`, firstName: String(random(2)) }
    return [
      () => ({ message: message(`m_${n}`), user: snapshot(id, clock - random(3) * SECOND, named) }),
      () => ({ user: snapshot(id, clock - random(3) * SECOND, { ...named, eventAt: null }) }),
      () => ({ user: claims(id, clock, { email: `${random(3)}@example.com` }) }),
      () => ({
        message: message(`m_${n}`),
        session: session(`sess_${random(6)}`, id, ['active', 'pending', 'ended'][random(3)] as string, clock),
      }),
      () => ({ message: message(`m_${n}`), user: deletion(`${id}${n % 9 === 0 ? '' : '_gone'}`, clock) }),
    ][random(5)]?.() as object
  }
  async function write(write: typeof apply, offset: number) {
    for (let i = 0; i < 60; i += 1)
      await write(...Array.from({ length: 1 + random(4) }, (_, j) => change(offset + i * 4 + j)))
  }
  async function writeLate() {
    const client = await database.connect()
    for (let i = 0; i < 25; i += 1) {
      await client.query('begin; set local lock_timeout = 200')
      try {
        await client.query(`insert into clerk.users (id, sync_source) values ('user_foreign_${i}_${random(1e9)}', 'x')`)
        await sleep(random(60))
        await client.query(`update clerk.users set username = '${random(3)}' where id = '${user()}'`)
        if (random(3) === 0) await client.query(`update clerk.users set deleted_at = null where deleted_at is not null`)
        await sleep(random(60))
        await client.query(random(4) === 0 ? 'rollback' : 'commit')
      } catch {
        await client.query('rollback')
      }
    }
    client.release()
  }
  async function read(after: Position): Promise<FeedEntry[]> {
    const entries: FeedEntry[] = []
    let place = after
    for (let isLast = false; ; isLast = isOver) {
      const page = await readChanges(pool, place, 1 + random(20))
      entries.push(...page.entries)
      place = page.next
      if (isLast && !page.hasMore) return entries
      await sleep(random(5))
    }
  }
  const reading = [read(START), read(START)]
  await Promise.all([write(apply, 0), write(other.apply, 10_000), writeLate(), writeLate()])
  await settled()
  isOver = true
  const all = await Promise.all(reading)
  const whole = (await readChanges(pool, undefined, 100_000)).entries
  t.ok(whole.length > 100, `${whole.length} changes`)
  for (const entries of all) t.strictSame(entries, whole, 'whoever read meanwhile')
  for (let i = 0; i < 10; i += 1) {
    const from = random(whole.length)
    const entries = (await readChanges(pool, whole[from]?.position, 100_000)).entries
    t.strictSame(entries, whole.slice(from + 1), 'from any cursor')
  }
  const history = new Map<string, string[]>()
  for (const { entity, id, was, is_now: now } of await database.query('select * from audit order by n')) {
    const expected = expectedOf(entity, was, now)
    if (expected) history.set(`${entity} ${id}`, [...(history.get(`${entity} ${id}`) ?? []), expected])
  }
  const told = new Map<string, string[]>()
  for (const { change } of whole) {
    const key = `${change.entity} ${change.entityId}`
    const text = change.op === 'updated' ? `updated ${change.changed.toSorted().join()}` : change.op
    told.set(key, [...(told.get(key) ?? []), text])
  }
  t.strictSame(Object.fromEntries([...told].sort()), Object.fromEntries([...history].sort()))
})

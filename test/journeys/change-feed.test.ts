/** The change feed while replicas and the database are killed: nothing is lost, and what each reader gets is in order. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import tap, { test } from 'tap'
import { PUSH_SECRET, startChangeReceiver } from '../helpers/change-receiver.ts'
import { startOwnPostgres } from '../helpers/own-postgres.ts'
import { createProduction } from '../helpers/production.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(900_000)

const TOKEN = 'token-of-the-change-feed'
const USERS = 30

interface Read {
  id: string
  entityId: string
}

test('the change feed loses nothing while replicas and the database are killed', async (t) => {
  const postgres = await startOwnPostgres(t)
  const query = async (sql: string) => {
    const client = new pg.Client({ connectionString: postgres.url })
    client.on('error', () => undefined)
    await client.connect()
    try {
      return (await client.query(sql)).rows
    } finally {
      await client.end()
    }
  }
  const { clerk, start } = await createProduction(t, {
    url: postgres.url,
    query,
    connect: () => Promise.reject(new Error('none')),
  } as never)
  const receiver = await startChangeReceiver(t)
  const env = {
    CHANGES: 'true',
    CHANGES_TOKEN: TOKEN,
    CHANGES_WEBHOOK_URL: receiver.url,
    CHANGES_WEBHOOK_SECRET: PUSH_SECRET,
  }
  const replicas = [await start(undefined, [], env), await start(undefined, [], env)]
  const sent: Record<string, number> = {}

  /** Sends a webhook until a replica takes it. */
  async function deliver(type: string, id: string, firstName: string): Promise<void> {
    const at = (sent[id] ?? Date.now()) + 1
    sent[id] = at
    const data =
      type === 'user.deleted' ? { id, deleted: true } : { id, first_name: firstName, created_at: at, updated_at: at }
    const body = JSON.stringify({ type, object: 'event', timestamp: at, data })
    for (let attempt = 0; ; attempt += 1) {
      const headers = { 'content-type': 'application/json', ...clerk.sign(body, { id: `msg_${id}_${at}` }) }
      const url = replicas[attempt % 2]?.url as string
      const ok = await fetch(`${url}/clerk`, { method: 'POST', body, headers }).then(
        (reply) => reply.ok,
        () => false,
      )
      if (ok) return
      await sleep(50)
    }
  }

  const read: Read[] = []
  let isOver = false
  async function poll(): Promise<void> {
    let cursor = ''
    for (let attempt = 0; ; attempt += 1) {
      const url = `${replicas[attempt % 2]?.url}/api/changes?limit=7&wait=2${cursor && `&after=${cursor}`}`
      const reply = await fetch(url, { headers: { authorization: `Bearer ${TOKEN}` } }).catch(() => undefined)
      if (!reply?.ok) {
        await sleep(50)
        continue
      }
      const wasOver = isOver
      const page = (await reply.json()) as { changes: Read[]; cursor: string; hasMore: boolean }
      read.push(...page.changes)
      cursor = page.cursor
      if (wasOver && page.changes.length === 0) return
    }
  }
  const polling = poll()
  const story = Array.from({ length: USERS }, async (_, i) => {
    const id = `user_${i}`
    await deliver('user.created', id, 'a')
    for (let j = 0; j < 4; j += 1) {
      await sleep(Math.random() * 2_000)
      await deliver('user.updated', id, `b${j}`)
    }
    await deliver('user.deleted', id, '')
  })

  async function restart(which: 0 | 1): Promise<void> {
    const replica = replicas[which] as (typeof replicas)[number]
    replica.child.kill('SIGKILL')
    await replica.exit
    replicas[which] = await start(replica.port, [], env)
  }
  await sleep(1_000)
  await restart(0)
  await sleep(500)
  await postgres.kill()
  await sleep(500)
  await postgres.start()
  await sleep(500)
  await restart(1)
  await restart(0)
  await Promise.all(story)
  isOver = true
  await polling

  const told = (await query(
    `select 'chg_' || seq as id, entity_id as "entityId" from clerk.changes order by xid, seq`,
  )) as Read[]
  t.equal(told.length, USERS * 6)
  t.strictSame(
    read.map(({ id }) => id),
    told.map(({ id }) => id),
    'by pull each once, in order',
  )
  const wanted = new Set(told.map(({ id }) => id))
  await waitUntil('all pushed', async () => new Set(receiver.received.map(({ id }) => id)).size === wanted.size)
  for (let i = 0; i < USERS; i += 1) {
    const of = (list: Read[]) => [
      ...new Set(list.filter(({ entityId }) => entityId === `user_${i}`).map(({ id }) => id)),
    ]
    t.strictSame(of(receiver.received), of(told), 'by push in the order of each user')
  }
})

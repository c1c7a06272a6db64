/** Readers of the change feed during all of it: by pull each change once, in order; by push at least once, in order for each entity. */
import { setTimeout as sleep } from 'node:timers/promises'
import { startChangeReceiver } from '../helpers/change-receiver.ts'
import type { Scope } from '../helpers/own-postgres.ts'
import { waitUntil } from '../helpers/wait-until.ts'
import { call } from './call.ts'
import type { Tally } from './tally.ts'
import type { World } from './world.ts'

export const CHANGES_TOKEN = 'token-of-the-change-feed'

export interface FeedFigures {
  changes: number
  lost: number
  outOfOrder: number
}

interface Told {
  id: string
  entity: string
  entityId: string
}

const RETRY_MS = 100
const TIMEOUT_MS = 20_000

/** A receiver that refuses, or is slow, or never answers, the first time that it gets some of the changes. */
export async function startMoodyReceiver(scope: Scope) {
  const receiver = await startChangeReceiver(scope)
  const seen = new Set<string>()
  receiver.answer = async ({ id }) => {
    const number = Number(id.replace(/\D/g, ''))
    const isFirst = !seen.has(id)
    seen.add(id)
    if (isFirst && number % 50 === 0) return 500
    if (isFirst && number % 211 === 0) return undefined
    if (number % 10 === 0) await sleep(100)
    return 204
  }
  return receiver
}

/** Starts reading; what it returns waits for the last change and holds what came against the table. */
export function startFeed({ replicas, database, receiver }: World, tally: Tally): () => Promise<FeedFigures> {
  const read: string[] = []
  let isFinishing = false

  async function poll(): Promise<void> {
    let cursor = ''
    for (let attempt = 0; ; attempt += 1) {
      const { url } = replicas[attempt % replicas.length] as { url: string }
      const query = `limit=500&wait=2${cursor && `&after=${cursor}`}`
      const wasFinishing = isFinishing
      const headers = { authorization: `Bearer ${CHANGES_TOKEN}` }
      const answer = await call({ url: `${url}/api/changes?${query}`, headers, timeoutMs: TIMEOUT_MS })
      if (answer.status !== 200) {
        const isRefused = answer.status === undefined || answer.status === 503
        if (!isRefused) tally.violate(`changes: ${answer.status} ${answer.body}`)
        await sleep(RETRY_MS)
        continue
      }
      const page = JSON.parse(answer.body) as { changes: Told[]; cursor: string }
      read.push(...page.changes.map(({ id }) => id))
      cursor = page.cursor
      if (wasFinishing && page.changes.length === 0) return
    }
  }

  const polling = poll()
  return async () => {
    isFinishing = true
    await polling
    const told = await database.query<Told & Record<string, string>>(
      `select 'chg_' || seq as id, entity, entity_id as "entityId" from changes order by xid, seq`,
    )
    const pushed = () => new Set(receiver.received.map(({ id }) => id))
    // Those that were never answered are tried again after 20 s.
    await waitUntil('all pushed', async () => pushed().size >= told.length).catch(() => undefined)
    const received = pushed()
    const pulled = new Set(read)
    const lost = told.filter(({ id }) => !pulled.has(id) || !received.has(id))
    for (const { id } of lost) tally.violate(`change ${id} is lost: ${received.has(id) ? 'by pull' : 'by push'}`)
    if (pulled.size < read.length) tally.violate(`${read.length - pulled.size} changes came twice by pull`)
    let outOfOrder = read.filter((id, i) => id !== told[i]?.id).length
    // The first time that each came must be after that of all before it, for each entity.
    const position = new Map([...received].map((id, i) => [id, i]))
    const last = new Map<string, number>()
    for (const { id, entity, entityId } of told) {
      const at = position.get(id) ?? Number.POSITIVE_INFINITY
      const key = `${entity} ${entityId}`
      if (at < (last.get(key) ?? -1)) outOfOrder += 1
      last.set(key, at)
    }
    if (outOfOrder > 0) tally.violate(`${outOfOrder} changes came out of order`)
    return { changes: told.length, lost: lost.length, outOfOrder }
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import { type Test, test } from 'tap'
import { createBackendApi, type UserListQuery } from '../../src/clerk/backend-api.ts'
import { createLaneWalk, type Lane, type LaneWalkOptions } from '../../src/clerk/lanes.ts'
import { type ClerkEmulatorOptions, createClerkEmulator } from '../../src/emulator/index.ts'

type Api = LaneWalkOptions['api']

async function start(t: Test, options: ClerkEmulatorOptions = {}) {
  const clerk = await createClerkEmulator({ secretKey: 'sk_live_lanes', ...options })
  t.teardown(() => clerk.close())
  const api = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, firstPauseMs: 1 })
  return { clerk, api }
}

const idsOf = (clerk: Awaited<ReturnType<typeof start>>['clerk']) => [...clerk.users()].map(({ id }) => id)

/** Walks and gives the ids as they came. */
async function walk(options: Omit<LaneWalkOptions, 'take'> & Partial<Pick<LaneWalkOptions, 'take'>>) {
  const ids: string[] = []
  const walk = createLaneWalk({
    ...options,
    async take(page) {
      await options.take?.(page)
      ids.push(...page.ids)
    },
  })
  await walk.run()
  return { ids, left: walk.left() }
}

/** How many questions of a list are under way at once, each of them slow enough to meet the others. */
function watch(api: Api) {
  const seen = { underWay: 0, most: 0, filters: new Set<string>(), queries: [] as UserListQuery[] }
  const listUsers: Api['listUsers'] = async (query) => {
    seen.queries.push(query)
    seen.filters.add(`${query.createdAfter} ${query.createdBefore}`)
    seen.underWay += 1
    seen.most = Math.max(seen.most, seen.underWay)
    await sleep(20)
    return api.listUsers(query).finally(() => {
      seen.underWay -= 1
    })
  }
  return { seen, api: { ...api, listUsers } }
}

test('every user is read once, in the requested number of lanes', async (t) => {
  const { clerk, api } = await start(t)
  clerk.seedUsers(6_000)
  for (const lanes of [1, 2, 8, 30]) {
    const { seen, api: watched } = watch(api)
    const { ids } = await walk({ api: watched, total: 6_000, lanes })
    t.strictSame(ids.toSorted(), idsOf(clerk).toSorted(), `${lanes} lanes`)
    t.equal(seen.most, Math.min(lanes, 12), 'no more than there are pages')
  }
})

test('a few users cost one request, and an empty instance is not an error', async (t) => {
  const { clerk, api } = await start(t)
  t.strictSame(await walk({ api, total: 0 }), { ids: [], left: [{}] })
  t.equal(clerk.stats.apiRequests, 1)
  clerk.seedUsers(500)
  t.equal((await walk({ api, total: 499 })).ids.length, 500)
  t.equal(clerk.stats.apiRequests, 3, 'a full page may not be the last one')
  const gone = { ...api, listUsers: async () => ({ users: [], unusable: [], ids: [], createdAt: [] }) }
  t.strictSame((await walk({ api: gone, total: 5_000 })).ids, [], 'all deleted since they were counted')
})

test('a finished lane takes over half of the largest one', async (t) => {
  const { clerk, api } = await start(t)
  // All but one in the last hour of ten years, most of those within the same few seconds.
  const now = 1_700_000_000_000
  clerk.createUser({ createdAt: now - 315_360_000_000 })
  for (let n = 0; n < 600; n += 1) clerk.createUser({ createdAt: now - 3_600_000 + n })
  for (let n = 0; n < 8_000; n += 1) clerk.createUser({ createdAt: now + n })
  const { seen, api: watched } = watch(api)
  let atOnce = 0
  let meet = () => {}
  const allAreThere = new Promise<void>((done) => (meet = done))
  const { ids } = await walk({
    api: watched,
    total: 8_601,
    lanes: 4,
    // Goes on when all four lanes have a full page in hand at the same time: where the users are.
    async take(page) {
      if (page.ids.length < 500) return
      atOnce += 1
      if (atOnce === 4) meet()
      await allAreThere
    },
  })
  t.strictSame(ids.toSorted(), idsOf(clerk).toSorted())
  t.ok(seen.filters.size > 6, 'beyond the first four and the two ends')
  t.ok(seen.queries.length <= 18 + 20, `${seen.queries.length} pages`)
})

test('a lane that ends while it is being split is not split', async (t) => {
  const { clerk, api } = await start(t)
  clerk.seedUsers(3_500)
  const cut = [...clerk.users()][500]?.created_at as number
  let taken = 0
  let end = () => {}
  const allTaken = new Promise<void>((done) => (end = done))
  let counts = 0
  const countUsers: Api['countUsers'] = async (filter) => {
    counts += 1
    // The first says how much is left of the other lane, the second where to split it.
    if (counts === 2) await allTaken
    return api.countUsers(filter)
  }
  const { ids } = await walk({
    api: { ...api, countUsers },
    total: 3_500,
    lanes: 2,
    from: [{ before: cut }, { after: cut - 1 }],
    async take(page) {
      taken += page.ids.length
      if (taken === 3_500) end()
    },
  })
  t.equal(new Set(ids).size, 3_500)
  t.equal(counts, 2)
})

test('a lane is not split before its current position', async (t) => {
  const { clerk, api } = await start(t)
  clerk.seedUsers(8_500)
  const cut = [...clerk.users()][500]?.created_at as number
  let taken = 0
  let goOn = () => {}
  const isPast = new Promise<void>((done) => (goOn = done))
  let counts = 0
  const countUsers: Api['countUsers'] = async (filter) => {
    counts += 1
    const count = await api.countUsers(filter)
    // The second says how much is behind the middle, and arrives when the lane is there.
    if (counts === 2) await isPast
    return count
  }
  const { ids } = await walk({
    api: { ...api, countUsers },
    total: 8_500,
    lanes: 2,
    from: [{ before: cut }, { after: cut - 1 }],
    async take(page) {
      taken += page.ids.length
      if (taken < 5_500) return
      goOn()
      // Until the answer has been looked at.
      await sleep(20)
    },
  })
  t.equal(new Set(ids).size, 8_500)
  t.equal(ids.length, 8_500, 'nobody comes twice')
})

test('the first lane is split even before its first page has come', async (t) => {
  const { clerk, api } = await start(t)
  const now = 1_700_000_000_000
  for (let n = 0; n < 4_000; n += 1) clerk.createUser({ createdAt: now + n })
  clerk.createUser({ createdAt: now + 3_600_000 })
  let splits = 0
  let help = () => {}
  const helped = new Promise<void>((done) => (help = done))
  const listUsers: Api['listUsers'] = async (query) => {
    if (query.createdAfter === undefined && query.limit === undefined) await helped
    else if (query.createdBefore !== undefined && Number(query.createdAfter) < now + 4_000) {
      splits += 1
      help()
    }
    return api.listUsers(query)
  }
  const { ids } = await walk({ api: { ...api, listUsers }, total: 4_001, lanes: 2 })
  t.strictSame(ids.toSorted(), idsOf(clerk).toSorted())
  t.ok(splits > 0)
})

test('users created in one millisecond cannot be split, and are read by cursor only', async (t) => {
  const { clerk, api } = await start(t)
  for (let n = 0; n < 3_000; n += 1) clerk.createUser({ createdAt: 1_700_000_000_000 })
  t.equal((await walk({ api, total: 3_000 })).ids.length, 3_000)
  clerk.createUser({ createdAt: 1_600_000_000_000 })
  const { ids } = await walk({ api, total: 3_001, take: () => sleep(20) })
  t.strictSame(ids.toSorted(), idsOf(clerk).toSorted())
})

test('all pages of a lane are requested with one filter, even after a split', async (t) => {
  const { clerk, api } = await start(t)
  clerk.seedUsers(9_000)
  const { seen, api: watched } = watch(api)
  // Uneven, so that the first lane to end splits the other.
  const users = [...clerk.users()]
  const cut = users[1_000]?.created_at as number
  const from = [{ before: cut }, { after: cut - 1 }]
  const { ids } = await walk({ api: watched, total: 9_000, lanes: 2, from, take: () => sleep(20) })
  t.equal(new Set(ids).size, 9_000)
  t.ok(seen.filters.size > 2, 'it was split')
  const firstOf = new Map<string, string>()
  for (const { createdAfter, createdBefore, startingAfter } of seen.queries) {
    const filter = `${createdAfter} ${createdBefore}`
    if (startingAfter === undefined) firstOf.set(filter, filter)
    t.ok(firstOf.has(filter), 'a cursor goes with the filter that it came from')
  }
})

test('a walk continues from what another left, even if users there were deleted', async (t) => {
  for (const deletedCursor of ['resume', 'reject'] as const) {
    const { clerk, api } = await start(t, { deletedCursor })
    clerk.seedUsers(8_000)
    const stop = new AbortController()
    const taken = new Set<string>()
    let pages = 0
    const first = createLaneWalk({
      api,
      total: 8_000,
      lanes: 4,
      signal: stop.signal,
      async take({ ids }) {
        for (const id of ids) taken.add(id)
        pages += 1
        if (pages === 7) stop.abort()
      },
    })
    await first.run()
    const left: Lane[] = JSON.parse(JSON.stringify(first.left()))
    t.ok(taken.size < 8_000)
    // The cursors, all of them.
    for (const { cursor } of left) if (cursor !== undefined) clerk.deleteUser(cursor)
    clerk.createUser({ id: 'user_new' })
    const { ids } = await walk({ api, total: 8_000, lanes: 2, from: left })
    const missed = idsOf(clerk).filter((id) => !taken.has(id) && !ids.includes(id))
    t.strictSame(missed, [], deletedCursor)
    const twice = ids.filter((id) => taken.has(id)).length
    t.ok(twice <= 4 * 500, `${twice} came twice: a page of each lane at most`)
  }
})

test('at any time the remaining lanes contain every user that was not taken', async (t) => {
  const { clerk, api } = await start(t)
  clerk.seedUsers(9_000)
  const untaken = new Map([...clerk.users()].map(({ id, created_at }) => [id, created_at]))
  let checks = 0
  let lost = 0
  function check() {
    checks += 1
    const lanes = walk.left()
    const isHeld = (at: number) => lanes.some(({ after = -1, before = Number.MAX_VALUE }) => at > after && at < before)
    for (const at of untaken.values()) if (!isHeld(at)) lost += 1
  }
  // At each step of the promises behind an answer.
  async function checkOften() {
    for (let step = 0; step < 12; step += 1) {
      await undefined
      check()
    }
  }
  const countUsers: Api['countUsers'] = async (filter) => {
    const count = await api.countUsers(filter)
    void checkOften()
    return count
  }
  const cut = [...untaken.values()][1_000] as number
  const walk = createLaneWalk({
    api: { ...api, countUsers },
    total: 9_000,
    lanes: 4,
    from: [{ before: cut }, { after: cut - 1 }],
    async take({ ids }) {
      check()
      for (const id of ids) untaken.delete(id)
    },
    onTaken: async () => check(),
  })
  await walk.run()
  t.strictSame([untaken.size, lost], [0, 0])
  t.ok(checks > 50)
})

test('a finished walk leaves a lane for new users', async (t) => {
  const { clerk, api } = await start(t)
  clerk.seedUsers(3_000)
  const { left } = await walk({ api, total: 3_000, lanes: 3 })
  t.equal(left.length, 1)
  const { id } = clerk.createUser()
  t.strictSame((await walk({ api, total: 3_001, from: left })).ids, [id])
})

test('no lasting user is skipped while users are created, changed and deleted', async (t) => {
  for (const deletedCursor of ['resume', 'reject'] as const) {
    const { clerk, api } = await start(t, { deletedCursor })
    clerk.seedUsers(5_000)
    const stays = new Set(idsOf(clerk))
    const taken = new Set<string>()
    const walk = createLaneWalk({
      api,
      total: 5_000,
      lanes: 3,
      async take({ ids }) {
        for (const id of ids) taken.add(id)
        // The cursor, the first of the page, and some who were not read yet.
        for (const id of [ids.at(-1), ids[0], [...stays].find((id) => !taken.has(id))]) {
          if (id !== undefined && stays.delete(id)) clerk.deleteUser(id)
        }
        const [changed] = stays
        clerk.updateUser(changed as string, { firstName: `Changed ${taken.size}` })
        if (taken.size < 2_500) clerk.createUser({ id: `user_new${taken.size}` })
      },
    })
    await walk.run()
    t.strictSame(
      [...stays].filter((id) => !taken.has(id)),
      [],
    )
    const comers = idsOf(clerk).filter((id) => id.startsWith('user_new'))
    t.ok(comers.length > 0)
    t.strictSame(
      comers.filter((id) => !taken.has(id)),
      [],
      'and those who came',
    )
  }
})

test('an API that ignores the cursor is detected', async (t) => {
  const { clerk, api } = await start(t)
  clerk.seedUsers(501)
  const listUsers: Api['listUsers'] = () => api.listUsers({ orderBy: 'created_at' })
  await t.rejects(walk({ api: { ...api, listUsers }, total: 501, lanes: 1 }), /same page repeatedly/)
})

test('the first error ends all lanes; an abort is not an error', async (t) => {
  const { clerk, api } = await start(t)
  clerk.seedUsers(5_000)
  const broken = async () => {
    throw new TypeError('a bug')
  }
  await t.rejects(walk({ api, total: 5_000, take: broken }), /a bug/)
  await t.rejects(
    walk({
      api: { ...api, listUsers: () => Promise.reject(new Error('Clerk is away')) },
      total: 10,
    }),
    /Clerk is away/,
  )
  const stop = new AbortController()
  const stopping = async () => {
    stop.abort()
    throw new TypeError('a bug')
  }
  await t.rejects(walk({ api, total: 5_000, signal: stop.signal, take: stopping }), /a bug/)
  const aborted = AbortSignal.abort(new Error('stop'))
  const stopped = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, signal: aborted })
  t.strictSame((await walk({ api: stopped, total: 5, signal: aborted })).ids, [])
})

test('a user without a creation time does not stop the walk', async (t) => {
  const { clerk, api } = await start(t)
  clerk.seedUsers(3_000)
  const listUsers: Api['listUsers'] = async (query) => {
    const page = await api.listUsers(query)
    const createdAt = page.createdAt.map((at, n) => (n % 3 === 0 ? undefined : at))
    return { ...page, createdAt, users: page.users.slice(1), unusable: [{ id: page.ids[0] as string, reason: 'odd' }] }
  }
  const { ids } = await walk({ api: { ...api, listUsers }, total: 3_000, lanes: 3 })
  t.strictSame(new Set(ids).size, 3_000)
  const none: Api['listUsers'] = async (query) => {
    const page = await listUsers(query)
    return { ...page, createdAt: page.ids.map(() => undefined) }
  }
  t.equal((await walk({ api: { ...api, listUsers: none }, total: 3_000, lanes: 3 })).ids.length, 3_000)
})

import { test } from 'tap'
import type { User } from '../../src/emulator/index.ts'
import { manualClock, startClerk } from './start-clerk.ts'

type Clerk = Awaited<ReturnType<typeof startClerk>>

async function get<T>(clerk: Clerk, path: string): Promise<{ status: number; body: T }> {
  const response = await fetch(`${clerk.apiUrl}/v1${path}`, { headers: { authorization: `Bearer ${clerk.secretKey}` } })
  return { status: response.status, body: (await response.json()) as T }
}

/** The first names on a page. */
async function names(clerk: Clerk, query: string): Promise<string> {
  const { body } = await get<User[]>(clerk, `/users?${query}`)
  return body.map((user) => user.first_name).join('')
}

/** Four users: a is the oldest, two of them share a birthday. */
async function startWithUsers(t: Parameters<typeof startClerk>[0]) {
  const clock = manualClock(1_700_000_000_000)
  const clerk = await startClerk(t, { now: clock.now })
  const create = (firstName: string, atMs: number, more = {}) =>
    clerk.createUser({ firstName, email: `${firstName}@example.com`, createdAt: clock.nowMs + atMs, ...more })
  const c = create('c', 20, { lastName: 'Z', username: 'charly', externalId: 'ext_c' })
  const d = create('d', 20, { lastName: 'Y', phone: '+15550004' })
  const a = create('a', 0, { lastName: 'X', otherEmails: ['second@example.com'] })
  const b = create('b', 10, { email: null, username: 'bert', phone: '+15550002' })
  clock.nowMs += 100
  clerk.signIn(b.id)
  clock.nowMs += 100
  clerk.signIn(a.id)
  clock.nowMs += 100
  clerk.banUser(c.id)
  return { clerk, a, b, c, d }
}

test('a list comes newest first, ten at a time', async (t) => {
  const { clerk } = await startWithUsers(t)
  t.equal(await names(clerk, ''), 'dcba')
  clerk.seedUsers(10)
  t.equal((await get<User[]>(clerk, '/users')).body.length, 10)
  t.equal((await get<User[]>(clerk, '/users?limit=500')).body.length, 14)
})

test('a list is ordered by any of the fields, null last', async (t) => {
  const { clerk } = await startWithUsers(t)
  const orders = {
    created_at: 'abcd',
    '%2Bcreated_at': 'abcd',
    '+created_at': 'abcd',
    '-created_at': 'dcba',
    updated_at: 'dbac',
    '-updated_at': 'cabd',
    last_sign_in_at: 'bacd',
    last_active_at: 'bacd',
    email_address: 'acdb',
    phone_number: 'bdac',
    username: 'bcad',
    first_name: 'abcd',
    '-first_name': 'dcba',
    last_name: 'adcb',
    web3wallet: 'abcd',
  }
  for (const [order, expected] of Object.entries(orders)) {
    t.equal((await names(clerk, `order_by=${order}`)).length, 4, order)
    t.equal(await names(clerk, `order_by=${order}`), expected, order)
  }
  t.equal(await names(clerk, 'order_by=first_name&order_by=-created_at'), 'abcd', 'the first one counts')
})

test('a list is filtered', async (t) => {
  const { clerk, a, b, c, d } = await startWithUsers(t)
  const organization = clerk.organizations.create({})
  for (const { id } of [a, c]) clerk.organizations.addMember(organization.id, id)
  const filters = {
    [`user_id=${a.id}&user_id=${b.id}&user_id=${b.id}&user_id=user_unknown`]: 'ba',
    [`user_id=%2B${a.id}`]: 'a',
    [`user_id=-${a.id}&user_id=-${c.id}`]: 'db',
    'email_address=A@example.com&email_address=second@example.com&email_address=none@example.com': 'a',
    'username=BERT&username=charly': 'cb',
    'query=SECOND': 'a',
    'query=%2B1555': 'db',
    'query=harl': 'c',
    'query=nothing': '',
    'email_address_query=SECOND@': 'a',
    'phone_number=%2B15550004': 'd',
    'phone_number_query=1555': 'db',
    'username_query=ER': 'b',
    'name_query=c%20z': 'c',
    'external_id=ext_c&external_id=ext_none': 'c',
    'external_id=-ext_c': 'dba',
    [`last_sign_in_at_after=${b.created_at}`]: 'ba',
    [`last_sign_in_at_before=${a.created_at + 150}`]: 'b',
    [`last_active_at_before=${a.created_at + 250}`]: 'ba',
    [`organization_id=${organization.id}`]: 'ca',
    [`organization_id=-${organization.id}`]: 'db',
    [`organization_id=-org_none&created_at_before=${c.created_at}`]: 'ba',
    [`created_at_after=${a.created_at}`]: 'dcb',
    [`created_at_before=${c.created_at}`]: 'ba',
    [`created_at_after=${a.created_at}&created_at_before=${c.created_at}`]: 'b',
    [`created_at_after=0&created_at_before=${a.created_at}`]: '',
    'banned=true': 'c',
    'banned=false': 'dba',
    'banned=false&order_by=first_name': 'abd',
    'banned=false&order_by=created_at&limit=1&offset=1': 'b',
    [`order_by=-updated_at&created_at_after=${a.created_at}`]: 'cbd',
    [`user_id=${a.id}&user_id=${c.id}&created_at_after=${a.created_at}`]: 'c',
    [`user_id=${a.id}&user_id=${c.id}&user_id=${d.id}&order_by=-updated_at`]: 'cad',
  }
  for (const [query, expected] of Object.entries(filters)) {
    t.equal(await names(clerk, query), expected, query)
    const { body } = await get<{ object: string; total_count: number }>(clerk, `/users/count?${query}`)
    t.same(body, { object: 'total_count', total_count: query.includes('limit') ? 3 : expected.length }, query)
  }
  t.same((await get(clerk, '/users/count')).body, { object: 'total_count', total_count: 4 })
})

test('offset and cursor walk through a list in both directions', async (t) => {
  const { clerk, a, b, c, d } = await startWithUsers(t)
  t.equal(await names(clerk, 'limit=2&offset=1'), 'cb')
  t.equal(await names(clerk, 'limit=2&offset=9'), '')
  t.equal(await names(clerk, 'order_by=created_at&limit=2&offset=1'), 'bc')
  t.equal(await names(clerk, `order_by=created_at&limit=2&starting_after=${a.id}`), 'bc')
  t.equal(await names(clerk, `order_by=created_at&starting_after=${c.id}`), 'd', 'also between equal times')
  t.equal(await names(clerk, `starting_after=${d.id}&limit=2`), 'cb')
  t.equal(await names(clerk, `starting_after=${a.id}`), '')
  t.equal(await names(clerk, `banned=false&order_by=created_at&starting_after=${a.id}`), 'bd')
  t.equal(await names(clerk, `banned=false&starting_after=${c.id}`), 'ba', 'the cursor need not pass the filter')
  t.equal(await names(clerk, `banned=false&starting_after=${a.id}`), '')
  t.equal(await names(clerk, `order_by=created_at&offset=0&starting_after=${b.id}`), 'cd')
})

test('a cursor and a range of creation go together', async (t) => {
  const { clerk, a, b, c, d } = await startWithUsers(t)
  const until = `created_at_before=${c.created_at + 1}`
  t.equal(await names(clerk, `order_by=created_at&${until}&limit=2&starting_after=${a.id}`), 'bc')
  t.equal(await names(clerk, `order_by=created_at&${until}&limit=2&starting_after=${c.id}`), 'd')
  t.equal(await names(clerk, `order_by=created_at&${until}&starting_after=${d.id}`), '')
  t.equal(await names(clerk, `order_by=created_at&created_at_after=${b.created_at}&starting_after=${a.id}`), 'cd')
  t.equal(await names(clerk, `created_at_before=${c.created_at}&starting_after=${d.id}`), 'ba')
  const named = `user_id=${a.id}&user_id=${c.id}&user_id=${d.id}`
  t.equal(await names(clerk, `order_by=created_at&${named}&starting_after=${b.id}`), 'cd', 'also of users by name')
  t.equal(await names(clerk, `${named}&starting_after=${c.id}`), 'a')
  clerk.deleteUser(b.id)
  t.equal(await names(clerk, `order_by=created_at&${until}&starting_after=${b.id}`), 'cd', 'also of a deleted user')
})

test('seeded users who changed come last in the order by update, and the others as they were created', async (t) => {
  const clock = manualClock(1_700_000_000_000)
  const clerk = await startClerk(t, { now: clock.now })
  clerk.seedUsers(6)
  const all = [...clerk.users()].map(({ id }) => id)
  clock.nowMs += 10
  clerk.updateUser(all[4] as string, { firstName: 'later' })
  clock.nowMs -= 3_000
  clerk.createUser({ id: 'user_between', createdAt: clock.nowMs })
  clock.nowMs += 3_100
  clerk.updateUser(all[1] as string, { firstName: 'latest' })
  clerk.deleteUser(all[0] as string)
  const expected = [all[2], 'user_between', all[3], all[5], all[4], all[1]]
  const ids = async (query: string) => (await get<User[]>(clerk, `/users?${query}`)).body.map(({ id }) => id)
  t.strictSame(await ids('order_by=updated_at'), expected)
  t.strictSame(await ids('order_by=-updated_at'), expected.toReversed())
  t.strictSame(await ids('order_by=-updated_at&limit=2&offset=1'), [all[4], all[5]])
})

test('a walk by cursor meets everybody who stays, while others come and go', async (t) => {
  const clerk = await startClerk(t)
  clerk.seedUsers(1_000)
  const seen = new Set<string>()
  const gone = new Set<string>()
  const deleteUser = (id: string) => gone.add(clerk.deleteUser(id).id)
  let cursor = ''
  for (;;) {
    const { body } = await get<User[]>(clerk, `/users?order_by=created_at&limit=100${cursor}`)
    for (const { id } of body) seen.add(id)
    const [head, last] = [body[0], body.at(-1)]
    if (!head || !last) break
    cursor = `&starting_after=${last.id}`
    // The page's first and its last, the cursor itself.
    for (const id of new Set([head.id, last.id])) deleteUser(id)
    if (seen.size < 500) clerk.createUser()
  }
  const missed = [...clerk.users()].filter(({ id }) => !seen.has(id))
  t.same(missed, [])
  t.ok(gone.size >= 20)
})

test('the cursor of a deleted user may also be refused', async (t) => {
  const clerk = await startClerk(t, { deletedCursor: 'reject' })
  const [first, second] = [clerk.createUser({ firstName: 'a' }), clerk.createUser({ firstName: 'b' })]
  t.equal(await names(clerk, `order_by=created_at&starting_after=${first.id}`), 'b')
  clerk.deleteUser(first.id)
  t.match(await get(clerk, `/users?order_by=created_at&starting_after=${first.id}`), {
    status: 422,
    body: { errors: [{ code: 'form_resource_not_found', meta: { param_name: 'starting_after' } }] },
  })
  t.equal(await names(clerk, `starting_after=${second.id}`), '')
})

test('values that Clerk does not take are refused', async (t) => {
  const { clerk, a } = await startWithUsers(t)
  const refused = {
    'limit=0': 'form_param_value_invalid',
    'limit=501': 'form_param_value_invalid',
    'limit=ten': 'form_param_value_invalid',
    'offset=-1': 'form_param_value_invalid',
    'created_at_after=yesterday': 'form_param_value_invalid',
    'created_at_before=-1': 'form_param_value_invalid',
    [Array.from({ length: 101 }, (_, n) => `user_id=user_${n}`).join('&')]: 'form_param_value_invalid',
    'order_by=id': 'form_param_value_invalid',
    'order_by=toString': 'form_param_value_invalid',
    'starting_after=user_unknown': 'form_resource_not_found',
    [`starting_after=${a.id}&offset=1`]: 'form_conditional_param_disallowed',
    [`starting_after=${a.id}&order_by=updated_at`]: 'form_conditional_param_disallowed',
  }
  for (const [query, code] of Object.entries(refused)) {
    t.match(await get(clerk, `/users?${query}`), { status: 422, body: { errors: [{ code }] } }, query)
  }
})

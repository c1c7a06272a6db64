import tap, { type Test, test } from 'tap'
import { type Service, startService } from '../helpers/service.ts'

tap.setTimeout(900_000)

/** A user whose events the test sends itself, as raw text, and who reads the profile after each. */
async function start(t: Test) {
  const service = await startService(t)
  const { clerk, url } = service
  clerk.webhooks.url = undefined
  const { id } = clerk.createUser({ email: 'ada@example.com' })
  const token = clerk.sessionToken(clerk.signIn(id).id)
  let version = Date.now()

  /** Sends user.updated with these fields, given as JSON text. Resolves to the reply. */
  async function send(fields: string, type = 'user.updated') {
    version += 1
    const body = `{"type":"${type}","timestamp":${version},"data":{"id":"${id}","updated_at":${version}${fields && ','}${fields}}}`
    return post(service, body)
  }
  async function profileText() {
    const response = await fetch(`${url}/api/auth/profile`, { headers: { authorization: `Bearer ${token}` } })
    const text = await response.text()
    t.equal(response.status, 200, 'the profile')
    return text
  }
  /** Sends the fields, and resolves to the profile as parsed. */
  async function roundTrip(fields: string) {
    t.match(await send(fields), { status: 200, body: { outcome: 'applied' } }, 'applied')
    return JSON.parse(await profileText()).user
  }
  return { ...service, id, send, roundTrip, profileText }
}

async function post({ url, clerk }: Pick<Service, 'url' | 'clerk'>, body: string) {
  const headers = { 'content-type': 'application/json', ...clerk.sign(body) }
  const response = await fetch(`${url}/clerk`, { method: 'POST', headers, body })
  return { status: response.status, body: (await response.json()) as { code?: string } }
}

test('seconds and milliseconds are told apart', async (t) => {
  const { roundTrip } = await start(t)
  t.match(await roundTrip('"last_sign_in_at":1716883200'), { lastSignInAt: '2024-05-28T08:00:00.000Z' })
  t.match(await roundTrip('"last_sign_in_at":1716883200123'), { lastSignInAt: '2024-05-28T08:00:00.123Z' })
  t.match(await roundTrip('"last_sign_in_at":1716883200.5'), { lastSignInAt: '2024-05-28T08:00:00.500Z' })
  t.match(await roundTrip('"last_sign_in_at":1.716883200123e12'), { lastSignInAt: '2024-05-28T08:00:00.123Z' })
  t.match(await roundTrip('"last_sign_in_at":0'), { lastSignInAt: '1970-01-01T00:00:00.000Z' })
  t.match(await roundTrip('"last_sign_in_at":253402300799999'), { lastSignInAt: '9999-12-31T23:59:59.999Z' })
})

test('missing and null fields, and no primary email', async (t) => {
  const { roundTrip } = await start(t)
  const nothing = {
    email: null,
    emailVerified: null,
    firstName: null,
    lastName: null,
    username: null,
    imageUrl: null,
    publicMetadata: {},
    lastSignInAt: null,
  }
  t.match(await roundTrip(''), nothing)
  const names = ['email_addresses', 'primary_email_address_id', 'first_name', 'image_url', 'public_metadata', 'banned']
  t.match(await roundTrip(names.map((name) => `"${name}":null`).join()), nothing)
  t.match(
    await roundTrip('"email_addresses":[{"id":"idn_1","email_address":"a@b.c"}],"primary_email_address_id":null'),
    nothing,
  )
  t.match(
    await roundTrip('"email_addresses":[{},{"id":"idn_1","email_address":"a@b.c"}],"primary_email_address_id":"idn_1"'),
    { email: 'a@b.c', emailVerified: false },
  )
})

test('long values are stored whole', async (t) => {
  const { roundTrip } = await start(t)
  const [name, email, picture] = [
    'n'.repeat(10_000),
    `${'e'.repeat(10_000)}@example.com`,
    `https://${'i'.repeat(100_000)}`,
  ]
  const metadata = { [`k${'e'.repeat(9_999)}`]: 'v'.repeat(300_000) }
  t.match(
    await roundTrip(
      `"first_name":"${name}","last_name":"${name}","username":"${name}","image_url":"${picture}",
       "email_addresses":[{"id":"idn_1","email_address":"${email}"}],"primary_email_address_id":"idn_1",
       "public_metadata":${JSON.stringify(metadata)}`,
    ),
    { firstName: name, lastName: name, username: name, imageUrl: picture, email, publicMetadata: metadata },
  )
})

test('text that PostgreSQL cannot hold is cleaned, all other text is kept', async (t) => {
  const { roundTrip } = await start(t)
  const kept = '👩‍👩‍👧 𝒳 Zoë 李 \u0001\u001f\u007f \u2028\u2029 \ufffe \\ "quoted" \'; drop table users; --'
  const user = await roundTrip(
    `"first_name":"A\\u0000da","last_name":"\\ud800x\\udc00","username":${JSON.stringify(kept)},
     "public_metadata":{"a\\u0000b":"\\u0000","c":["\\ud83d"],"d\\udead":1,${JSON.stringify(kept)}:${JSON.stringify(kept)},
       "":"empty","line\\nbreak":{"in\\nner":true}}`,
  )
  t.match(user, { firstName: 'Ada', lastName: '\ufffdx\ufffd', username: kept })
  t.strictSame(user.publicMetadata, {
    '': 'empty',
    ab: '',
    c: ['\ufffd'],
    'd\ufffd': 1,
    [kept]: kept,
    'line\nbreak': { 'in\nner': true },
  })
})

test('keys that are dangerous in JavaScript are dropped, others that look it are kept', async (t) => {
  const { roundTrip, profileText } = await start(t)
  await roundTrip(
    `"public_metadata":{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}},"toJSON":"t","hasOwnProperty":1,
      "toString":null,"in":[{"__proto__":1,"constructor":2,"length":3}]}`,
  )
  const text = await profileText()
  t.strictSame(JSON.parse(text).user.publicMetadata, {
    toJSON: 't',
    hasOwnProperty: 1,
    toString: null,
    in: [{ length: 3 }],
  })
  t.notMatch(text, /__proto__|constructor|isAdmin/)
})

test('numbers come back as they were written', async (t) => {
  const { send, profileText } = await start(t)
  const numbers: Record<string, string> = {
    '0': '0',
    '-0': '0',
    '1.5': '1.5',
    '9007199254740993': '9007199254740993',
    '-123456789012345678901234567890': '-123456789012345678901234567890',
    '0.1234567890123456789012345': '0.1234567890123456789012345',
    '12345678.123456789123': '12345678.123456789123',
    '1e400': `1${'0'.repeat(400)}`,
    '-1E+400': `-1${'0'.repeat(400)}`,
    '1e-400': `0.${'0'.repeat(399)}1`,
    '5e-324': `0.${'0'.repeat(323)}5`,
    // Beyond what we let numeric take, as text.
    '1e1001': '"1e1001"',
    '1e-131072': '"1e-131072"',
  }
  const asked = Object.keys(numbers)
  const nested = `{"deep":{"er":[${asked}]},"n":[${asked}],${asked.map((number, i) => `"n${i}":${number}`)}}`
  t.match(await send(`"public_metadata":${nested}`), { status: 200 })
  const text = await profileText()
  const given = Object.values(numbers)
  t.ok(text.includes(`"n":[${given}]`))
  t.ok(text.includes(`"er":[${given}]`))
  for (const [i, number] of given.entries()) t.ok(text.includes(`"n${i}":${number}`), number)
})

test('deep nesting is kept to 500 levels, and beyond them cut off', async (t) => {
  const { send, profileText } = await start(t)
  const nested = (depth: number, core = '') => '['.repeat(depth) + core + ']'.repeat(depth)
  // The metadata itself are the first level.
  for (const [depth, kept] of [
    [400, nested(400)],
    [600, nested(499, 'null')],
    [100_000, nested(499, 'null')],
  ] as const) {
    t.match(await send(`"public_metadata":{"a":${nested(depth)},"n":12345678901234567890}`), {
      status: 200,
      body: { outcome: 'applied' },
    })
    t.ok((await profileText()).includes(`"a":${kept}`), `${depth} levels`)
  }
  const objects = `${'{"a":'.repeat(300)}1e400${'}'.repeat(300)}`
  t.match(await send(`"public_metadata":${objects}`), { status: 200 })
  t.ok((await profileText()).includes(objects.replaceAll('1e400', `1${'0'.repeat(400)}`)))
})

test('the same data in a session event, in fields that are not used, and in other events do no harm', async (t) => {
  const service = await start(t)
  const odd = '{"\\u0000":"\\ud800","__proto__":1,"n":1e999999,"a":'.concat('['.repeat(2_000), ']'.repeat(2_000), '}')
  const now = Date.now()
  const events = {
    'session.created': `{"id":"sess_\\u0000","user_id":"user_x\\udc00","status":"active","client_id":"\\u0000","latest_activity":${odd},"user":null}`,
    'user.updated': `{"id":"${service.id}","updated_at":${now},"unsafe_metadata":${odd},"private_metadata":${odd},"first_name":"kept"}`,
    'email.created': `{"id":"ema_\\u0000","body":${odd}}`,
    'odd\\u0000.type': odd,
  }
  for (const [type, data] of Object.entries(events)) {
    const reply = await post(service, `{"type":"${type}","timestamp":${now},"event_attributes":${odd},"data":${data}}`)
    t.match(reply, { status: 200, body: { received: true } }, type)
  }
  t.match(JSON.parse(await service.profileText()), { user: { firstName: 'kept' } })
  t.match(await service.database.query('select id, type, object_id from webhook_events order by type'), [
    { type: 'email.created', object_id: 'ema_' },
    { type: 'odd.type' },
    { type: 'session.created', object_id: 'sess_' },
    { type: 'user.updated' },
  ])
})

test('what cannot be used at all is a 422 that the ledger keeps, never a 5xx', async (t) => {
  const service = await start(t)
  const bodies = [
    '',
    '\0',
    'nul\\u0000l',
    '[]',
    '"\\ud800"',
    '{"type":"user.created","data":{"id":"\\ud800","first_name":["\\u0000"]}}',
    `{"type":"user.created","data":{"id":"u","updated_at":253402300800000}}`,
    `{"type":"user.created","data":{"id":"u","updated_at":12345678901234567890}}`,
    `{"type":"user.created","data":{"id":"u","updated_at":1716883200123.1234567890}}`,
    `${'['.repeat(100_000)}`,
    `{"type":"\\u0000${'t'.repeat(300)}","data":{"id":"\\u0000"}}`,
    `{"type":7,"data":null}`,
  ]
  for (const body of bodies) {
    const { status, body: reply } = await post(service, body)
    t.strictSame([status, reply.code], [422, 'WEBHOOK_PAYLOAD_INVALID'], JSON.stringify(body.slice(0, 80)))
  }
  t.match(
    await service.database.query("select count(*)::int, max(attempts) from webhook_events where outcome = 'failed'"),
    [{ count: bodies.length, max: 1 }],
  )
})

import { test } from 'tap'
import { type Change, InvalidEventError } from '../../src/domain/change.ts'
import type { JsonObject } from '../../src/domain/clean.ts'
import { changeFromEvent } from '../../src/resources/received-event.ts'
import { claimsChange, snapshotFromApi } from '../../src/resources/user/change.ts'
import { type FixtureEvent, readFixture } from '../helpers/fixture.ts'

const T0 = 1_716_883_200_123
const USER = 'user_2g7np9XWqTaVbkuyKxD1tzLDdSM'
const SESSION = 'sess_2g7nqK3mBv5cXz1aSdFgHjKlQwE'
const DELIVERY = { id: 'msg_1', sentAt: T0 + 1e7, payload: '{}' }

const toChange = (event: unknown, nowMs = T0 + 1e9) => changeFromEvent(event, DELIVERY, nowMs)

/** The change that a fixture stands for once `edit` has altered it. */
function edited(type: string, edit: (event: FixtureEvent) => void): Change {
  const event = readFixture(type)
  edit(event)
  return toChange(event)
}

const SIGNED_IN = {
  kind: 'snapshot',
  id: USER,
  source: 'webhook',
  version: { updatedAt: T0 + 60_010, eventAt: T0 + 60_020 },
  profile: {
    email: 'ada@example.com',
    emailVerified: true,
    firstName: 'Ada',
    lastName: 'Lovelace',
    username: 'ada',
    publicMetadata: { plan: 'pro', seats: 3 },
    lastSignInAt: T0 + 60_000,
  },
  banned: false,
  clerkCreatedAt: T0,
}

test('user.created is a full snapshot, with the address that primary_email_address_id names', async (t) => {
  const { message, user, session } = toChange(readFixture('user.created'))
  t.strictSame(message, {
    id: 'msg_1',
    type: 'user.created',
    objectId: USER,
    eventAt: T0 + 37,
    payload: '{}',
    instanceId: null,
    userId: USER,
  })
  t.match(user, {
    ...SIGNED_IN,
    version: { updatedAt: T0, eventAt: T0 + 37 },
    profile: { ...SIGNED_IN.profile, imageUrl: /^https:\/\/img\.clerk\.com\//, lastSignInAt: null },
  })
  t.equal(session, undefined)
})

test('user.updated of a phone-only, banned user leaves no email', async (t) => {
  const { user } = toChange(readFixture('user.updated'))
  t.match(user, {
    version: { updatedAt: T0 + 300_005, eventAt: T0 + 300_050 },
    profile: {
      email: null,
      emailVerified: null,
      firstName: 'Augusta',
      lastName: null,
      username: null,
      publicMetadata: {},
    },
    banned: true,
  })
})

test('user.deleted is dated by its envelope, in seconds or milliseconds', async (t) => {
  t.strictSame(toChange(readFixture('user.deleted')).user, { kind: 'deletion', id: USER, deletedAt: T0 + 600_000 })
  const { user } = edited('user.deleted', (event) => {
    event.timestamp = 1_716_883_800
  })
  t.strictSame(user, { kind: 'deletion', id: USER, deletedAt: 1_716_883_800_000 })
})

test('session events are a state and, with a user, a snapshot', async (t) => {
  const created = toChange(readFixture('session.created'))
  t.strictSame(created.session, {
    id: SESSION,
    userId: USER,
    status: 'active',
    clientId: 'client_2g7nqJ9yUiOpLkJhGfDsAzXcVbN',
    version: { updatedAt: T0 + 60_000, eventAt: T0 + 60_020 },
    createdAt: T0 + 60_000,
    lastActiveAt: T0 + 60_000,
    expireAt: T0 + 60_000 + 604_800_000,
    abandonAt: T0 + 60_000 + 2_592_000_000,
  })
  t.match(created.user, SIGNED_IN)
  for (const [type, status] of Object.entries({
    pending: 'pending',
    ended: 'ended',
    removed: 'removed',
    revoked: 'revoked',
  })) {
    const change = toChange(readFixture(`session.${type}`))
    t.match(change, { message: { type: `session.${type}`, objectId: SESSION }, session: { status } })
    t.equal(change.user !== undefined, type === 'pending' || type === 'ended', 'the user may be null')
  }
  t.equal(edited('session.ended', ({ data }) => delete data.user).user, undefined, 'or missing')
})

test('the status of the data is used, but never revives a session that the event ended', async (t) => {
  const status = (type: string, said: unknown) =>
    edited(type, ({ data }) => {
      data.status = said
    }).session?.status
  t.equal(status('session.ended', 'replaced'), 'replaced')
  t.equal(status('session.ended', 'active'), 'ended')
  t.equal(status('session.created', 'revoked'), 'revoked')
  t.equal(status('session.created', 'pending'), 'pending')
  t.equal(status('session.created', null), 'active')
  t.equal(edited('session.removed', ({ data }) => delete data.status).session?.status, 'removed')
})

test('events of other types become only a message', async (t) => {
  for (const type of ['email.created', 'permission.created']) {
    const event = readFixture(type)
    const message = {
      id: 'msg_1',
      type,
      objectId: event.data.id,
      eventAt: event.timestamp,
      payload: '',
      instanceId: null,
    }
    t.strictSame(toChange(event), { message: { ...message, userId: event.data.user_id ?? null } })
  }
  t.match(toChange({ type: 'toString', data: {} }), { message: { type: 'toString', objectId: null } })
  t.match(toChange({ type: 'x.y', data: { id: 7 } }).message, { objectId: null })
})

test('without a timestamp the delivery dates the event; without updated_at the event dates its data', async (t) => {
  const { message, user } = edited('user.created', (event) => {
    Object.assign(event, { timestamp: null })
    delete event.data.updated_at
  })
  t.equal(message?.eventAt, DELIVERY.sentAt)
  t.match(user, { version: { updatedAt: DELIVERY.sentAt, eventAt: DELIVERY.sentAt } })
  const { session } = edited('session.ended', ({ data }) => delete data.updated_at)
  t.strictSame(session?.version, { updatedAt: T0 + 120_040, eventAt: T0 + 120_040 })
})

test('seconds become milliseconds', async (t) => {
  const { user, session } = edited('session.created', ({ data }) => {
    Object.assign(data, { updated_at: 1_716_883_260, expire_at: 1_717_488_060, last_active_at: null })
    Object.assign(data.user, { updated_at: 1_716_883_261, last_sign_in_at: 1_716_883_260.5, created_at: null })
  })
  t.match(session, { version: { updatedAt: 1_716_883_260_000 }, expireAt: 1_717_488_060_000, lastActiveAt: null })
  t.match(user, {
    version: { updatedAt: 1_716_883_261_000 },
    profile: { lastSignInAt: 1_716_883_260_500 },
    clerkCreatedAt: null,
  })
})

test('every field but the id may be null or missing', async (t) => {
  const empty = { email: null, emailVerified: null, firstName: null, lastName: null, username: null, imageUrl: null }
  const missing = edited('user.created', (event) => {
    event.data = { id: USER }
  })
  const nulls = edited('user.created', (event) => {
    for (const key of Object.keys(event.data)) if (key !== 'id') event.data[key] = null
  })
  for (const { user } of [missing, nulls]) {
    t.match(user, {
      profile: { ...empty, publicMetadata: {}, lastSignInAt: null },
      banned: false,
      clerkCreatedAt: null,
    })
  }
})

test('the primary address is found by its id alone', async (t) => {
  const emailOf = (edit: (data: FixtureEvent['data']) => void) => {
    const { user } = edited('user.created', ({ data }) => edit(data))
    return user?.kind === 'snapshot' && [user.profile.email, user.profile.emailVerified]
  }
  t.strictSame(
    emailOf((data) => {
      data.primary_email_address_id = data.email_addresses[0].id
      data.email_addresses[0].verification = null
    }),
    ['ada@old.example', false],
  )
  t.strictSame(
    emailOf((data) => {
      data.primary_email_address_id = 'idn_of_nobody'
    }),
    [null, null],
    'an id that no address has',
  )
  t.strictSame(
    emailOf((data) => {
      data.primary_email_address_id = null
      for (const address of data.email_addresses) delete address.id
    }),
    [null, null],
    'addresses without an id, and none that is primary',
  )
  t.strictSame(
    emailOf((data) => {
      delete data.email_addresses[1].email_address
    }),
    [null, null],
    'a primary address that is not said',
  )
  t.strictSame(
    emailOf((data) => {
      data.email_addresses[1].verification.status = 'unverified'
    }),
    ['ada@example.com', false],
  )
})

test('texts are cleaned at any depth', async (t) => {
  const { message, session, user } = changeFromEvent(
    {
      type: 'session.created',
      timestamp: T0,
      data: {
        id: 'sess\0_1',
        user_id: 'user_\ud800',
        client_id: 'c\0',
        status: 'act\0ive',
        user: {
          id: 'user_\ud800',
          first_name: 'A\0da',
          public_metadata: JSON.parse(
            '{"a\\u0000":"\\udc00","__proto__":{"x":1},"constructor":1,"in":[{"constructor":2,"k":"v"}]}',
          ),
        },
      },
    },
    { ...DELIVERY, id: 'msg\0_1' },
    T0,
  )
  t.match(message, { id: 'msg_1', objectId: 'sess_1' })
  t.match(session, { id: 'sess_1', userId: 'user_\ufffd', clientId: 'c', status: 'active' })
  t.match(user, { id: 'user_\ufffd', profile: { firstName: 'Ada' } })
  t.strictSame(user?.kind === 'snapshot' && user.profile.publicMetadata, { a: '\ufffd', in: [{ k: 'v' }] })
})

test('a payload that does not match the schema is refused, and the reason quotes no data', async (t) => {
  const refused = (event: unknown, message: RegExp) =>
    t.throws(() => toChange(event), { name: 'InvalidEventError', message })
  for (const nothing of [null, 7, [], 'x', {}, { type: 'user.created' }, { type: '', data: {} }])
    refused(nothing, /^\//)
  refused({ type: 'x'.repeat(256), data: {} }, /^\/type: /)
  const wrong: [string, string, unknown][] = [
    ['user.created', 'id', 7],
    ['user.created', 'id', ''],
    ['user.created', 'id', 'u'.repeat(256)],
    ['user.created', 'first_name', { secret: 'Ada' }],
    ['user.created', 'banned', 'yes'],
    ['user.created', 'updated_at', '1716883200123'],
    ['user.created', 'updated_at', -1],
    ['user.created', 'updated_at', 1e16],
    ['user.created', 'public_metadata', []],
    ['user.created', 'email_addresses', {}],
    ['user.deleted', 'id', null],
    ['session.created', 'user_id', null],
    ['session.created', 'user', []],
    ['session.ended', 'status', ''],
  ]
  for (const [type, field, value] of wrong) {
    const event = readFixture(type)
    event.data[field] = value
    refused(event, new RegExp(`^/data/${field}: [^"']*$`))
  }
  t.ok(new InvalidEventError('x') instanceof Error)
})

test('a date more than a day ahead is refused, because it would block every later event', async (t) => {
  const refuses = (type: string, ahead: number, edit: (event: FixtureEvent, date: number) => void) => {
    const event = readFixture(type)
    edit(event, T0 + 1e9 + ahead)
    return t.throws(() => toChange(event, T0 + 1e9), { message: /a day ahead/ })
  }
  const edits: [string, (event: FixtureEvent, date: number) => void][] = [
    ['user.updated', (event, date) => Object.assign(event, { timestamp: date })],
    ['user.updated', ({ data }, date) => Object.assign(data, { updated_at: date })],
    ['user.deleted', (event, date) => Object.assign(event, { timestamp: date })],
    ['session.ended', ({ data }, date) => Object.assign(data, { updated_at: date })],
    ['session.created', ({ data }, date) => Object.assign(data.user, { updated_at: date })],
  ]
  for (const [type, edit] of edits) refuses(type, 86_400_001, edit)
  t.doesNotThrow(() => {
    const event = readFixture('user.updated')
    event.timestamp = T0 + 1e9 + 86_400_000
    toChange(event, T0 + 1e9)
  }, 'a day is allowed')
})

test('a user from the Backend API is a snapshot without an envelope time', async (t) => {
  const { data } = readFixture('user.created')
  t.match(snapshotFromApi(data), {
    kind: 'snapshot',
    source: 'clerk_api',
    version: { updatedAt: T0, eventAt: null },
    profile: { email: 'ada@example.com' },
  })
  t.strictSame(
    snapshotFromApi({ id: USER }).version,
    { updatedAt: 0, eventAt: null },
    'without a date it is the oldest',
  )
})

test('claims name columns in any of their spellings', async (t) => {
  const said = (claims: JsonObject, issuedAtSeconds = 1_716_883_200) =>
    claimsChange({ userId: USER, sessionId: 'sess_1', claims, issuedAtSeconds })
  const profile = (claims: JsonObject) => said(claims).profile
  t.strictSame(said({ sub: USER, iat: 1 }, 1_716_883_200.9), {
    kind: 'claims',
    id: USER,
    sessionId: 'sess_1',
    issuedAt: 1_716_883_200_000,
    profile: {},
  })
  const spellings: Record<string, string[]> = {
    email: ['email', 'primary_email_address', 'primaryEmailAddress', 'email_address', 'emailAddress'],
    firstName: ['first_name', 'firstName', 'given_name', 'givenName'],
    lastName: ['last_name', 'lastName', 'family_name', 'familyName'],
    username: ['username'],
    imageUrl: ['image_url', 'imageUrl', 'picture'],
  }
  for (const [column, names] of Object.entries(spellings)) {
    for (const name of names) {
      t.strictSame(profile({ [name]: 'x\0' }), { [column]: 'x' })
      t.strictSame(profile({ [name]: null }), { [column]: null }, 'null is named')
      t.strictSame(profile({ [name]: 7 }), {}, 'of the wrong type it is not')
    }
  }
  for (const name of ['email_verified', 'emailVerified']) {
    t.strictSame([profile({ [name]: false }), profile({ [name]: 'true' })], [{ emailVerified: false }, {}])
  }
  for (const name of ['public_metadata', 'publicMetadata', 'metadata']) {
    t.strictSame(profile({ [name]: { constructor: 1, a: 'b\0' } }), { publicMetadata: { a: 'b' } })
    for (const wrong of [null, [], 'x']) t.strictSame(profile({ [name]: wrong }), {})
  }
  t.strictSame(profile({ email: 'a@b.c', email_address: 'x@y.z', given_name: 'G', first_name: 7 }), {
    email: 'a@b.c',
    firstName: 'G',
  })
  t.strictSame(profile(Object.create({ email: 'inherited@b.c' })), {})
})

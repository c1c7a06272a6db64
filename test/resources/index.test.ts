import { readdirSync } from 'node:fs'
import { Value } from '@sinclair/typebox/value'
import { test } from 'tap'
import { ClerkEnvelope } from '../../src/domain/payload.ts'
import { EVENT_TYPES, EVENTS } from '../../src/resources/index.ts'
import { ClerkUser } from '../../src/resources/user/payload.ts'
import { readFixture } from '../helpers/fixture.ts'

test('there is a fixture of every handled type, and each fits its schema', async (t) => {
  const files = readdirSync(new URL('../fixtures', import.meta.url))
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
  for (const [type, { schema }] of Object.entries(EVENTS)) {
    t.ok(files.includes(type), `${type}.json`)
    t.ok(Value.Check(schema, readFixture(type)), type)
  }
  for (const type of files) t.ok(Value.Check(ClerkEnvelope, readFixture(type)), type)
})

test('unknown fields are accepted', async (t) => {
  const { data } = readFixture('user.created')
  t.ok(Value.Check(ClerkUser, { ...data, new_field: { any: ['thing'] } }))
})

test('names of Object.prototype are not event types', async (t) => {
  t.ok(EVENT_TYPES.includes('user.created'))
  for (const type of ['email.created', 'user.merged', 'toString', '__proto__', '']) t.notOk(EVENT_TYPES.includes(type))
})

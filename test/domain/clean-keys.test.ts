import { test } from 'tap'
import { cleanJson } from '../../src/domain/clean.ts'
import { claimsChange } from '../../src/resources/user/change.ts'

test('a key that becomes __proto__ or constructor only by cleaning is dropped, too', async (t) => {
  const dirty = JSON.parse('{"__pro\\u0000to__":{"admin":true},"const\\u0000ructor":1,"a\\u0000b":2}')
  const clean = cleanJson(dirty) as object
  t.strictSame(Object.keys(clean), ['ab'])
  t.equal(Object.getPrototypeOf(clean), Object.prototype)
})

test('claims name the external id and the phone number, in both spellings', async (t) => {
  for (const [claims, profile] of [
    [
      { external_id: 'x', phone_number: '+1' },
      { externalId: 'x', phoneNumber: '+1' },
    ],
    [
      { externalId: 'x', primaryPhoneNumber: '+1' },
      { externalId: 'x', phoneNumber: '+1' },
    ],
    [{ external_id: null, primary_phone_number: 5 }, { externalId: null }],
  ] as const) {
    t.strictSame(claimsChange({ userId: 'user_1', sessionId: null, claims, issuedAtSeconds: 1 }).profile, profile)
  }
})

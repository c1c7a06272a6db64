import { test } from 'tap'
import { DatabaseUnavailable, errorHeaders, InvalidToken, MissingToken, retryAfter } from '../src/errors.ts'

test('a 401 carries its challenge, with attributes only when a token was sent', async (t) => {
  t.strictSame(errorHeaders(new MissingToken()), { 'www-authenticate': 'Bearer' })
  t.strictSame(errorHeaders(new InvalidToken('"\\\r\né')), {
    'www-authenticate':
      `Bearer error="invalid_token", error_description="The session token is not valid: ''''''"`.replace(
        "''''''",
        "'''''",
      ),
  })
  t.strictSame(errorHeaders({ statusCode: 401 }), {
    'www-authenticate': 'Bearer error="invalid_token", error_description=""',
  })
})

test('a 503 says when to try again, in whole seconds', async (t) => {
  t.strictSame(errorHeaders(new DatabaseUnavailable()), { 'retry-after': '1' })
  t.strictSame(errorHeaders(retryAfter(new DatabaseUnavailable(), 2_100)), { 'retry-after': '3' })
  t.strictSame(errorHeaders(retryAfter(new DatabaseUnavailable(), 0)), { 'retry-after': '1' })
  t.strictSame(errorHeaders({ statusCode: 400 }), {})
})

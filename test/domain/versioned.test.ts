import { type Test, test } from 'tap'
import { deletionOf, inferredDeletion, originOf, takesPrecedence, type Versioned } from '../../src/domain/versioned.ts'

const seen = (at: number, rank?: number): Versioned => ({
  id: 'org_1',
  ...originOf({ askedAt: at }, 10),
  createdAt: null,
  deletedAt: null,
  rank,
  data: {},
})
const inferred = (at: number) => inferredDeletion('org_1', at, {})
const final = (at: number) => deletionOf('org_1', at, {})

/** Asserts that `a` takes precedence over `b`, and not the reverse. */
function order(t: Test, a: Versioned, b: Versioned, message: string) {
  t.strictSame([takesPrecedence(a, b), takesPrecedence(b, a)], [true, false], message)
}

test('which of two states of an object takes precedence', (t) => {
  order(t, final(1), final(2), 'the earlier of two final deletions')
  order(t, final(1), seen(9), 'a final deletion, whatever was seen later')
  order(t, final(9), inferred(1), 'a final deletion over an inferred one')
  order(t, inferred(3), seen(2), 'an inferred deletion over what was seen before')
  order(t, seen(4), inferred(3), 'what was seen after an inferred deletion')
  order(t, inferred(1), { ...seen(0), heardAt: null }, 'an inferred deletion over a part of another object')
  order(t, seen(1, 2), seen(9, 1), 'the higher rank')
  t.notOk(takesPrecedence(seen(1), seen(1)), 'the same')
  const same = [takesPrecedence(seen(3), inferred(3)), takesPrecedence(inferred(3), seen(3))]
  t.strictSame(same, [false, false], 'at the same time neither')
  t.end()
})

import { test } from 'tap'
import { isNewer, newestById, toMilliseconds } from '../../src/domain/version.ts'

test('times below 10^11 are read as seconds', async (t) => {
  t.equal(toMilliseconds(1_716_883_200), 1_716_883_200_000)
  t.equal(toMilliseconds(1_716_883_200_123), 1_716_883_200_123)
  t.equal(toMilliseconds(99_999_999_999), 99_999_999_999_000)
  t.equal(toMilliseconds(100_000_000_000), 100_000_000_000)
  t.equal(toMilliseconds(0), 0)
  t.equal(toMilliseconds(1_716_883_200.1239), 1_716_883_200_123, 'whole milliseconds')
})

test('versions are compared by updated_at, then by the envelope; a missing envelope is older than any', async (t) => {
  const newer = (a: [number, number | null], b: [number, number | null]) =>
    isNewer({ updatedAt: a[0], eventAt: a[1] }, { updatedAt: b[0], eventAt: b[1] })
  t.ok(newer([2, null], [1, 9]))
  t.notOk(newer([1, 9], [2, null]))
  t.ok(newer([1, 2], [1, 1]))
  t.notOk(newer([1, 1], [1, 1]))
  t.ok(newer([1, 0], [1, null]))
  t.notOk(newer([1, null], [1, 0]))
  t.notOk(newer([1, null], [1, null]))
})

test('one item per id is left: the newest, and of equal ones the last', async (t) => {
  const item = (id: string, at: number, name: string) => ({ id, at, name })
  const items = [
    item('b', 1, 'old'),
    item('a', 5, 'first'),
    item('b', 2, 'new'),
    item('a', 5, 'second'),
    item('b', 1, 'late'),
  ]
  const newest = newestById(items, (a, b) => a.at > b.at)
  t.strictSame(
    newest.map(({ id, name }) => [id, name]),
    [
      ['b', 'new'],
      ['a', 'second'],
    ],
  )
  t.strictSame(
    newestById([], () => true),
    [],
  )
})

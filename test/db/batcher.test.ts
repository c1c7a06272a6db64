import { test } from 'tap'
import { type BatcherOptions, createBatcher } from '../../src/db/batcher.ts'

/** A batcher whose batches are recorded and end when the test says so. */
function gatedBatcher(options: Partial<BatcherOptions<number, number>> = {}) {
  const batches: { items: number[]; end: () => void; fail: (error: Error) => void }[] = []
  const add = createBatcher<number, number>({
    run: (items) =>
      new Promise((resolve, reject) => {
        batches.push({ items, end: () => resolve(items.map((item) => item * 10)), fail: reject })
      }),
    maxConcurrent: 1,
    maxBatchSize: 100,
    maxWaiting: 1_000,
    failsAll: (error) => (error as Error).message === 'frozen',
    overloaded: () => new Error('too many'),
    ...options,
  })
  return { add, batches }
}

const turn = () => new Promise((done) => setImmediate(() => setImmediate(done)))

test('a single call runs at once; calls that wait meanwhile share the next batch, each with its own result', async (t) => {
  const { add, batches } = gatedBatcher()
  const first = add(1)
  await turn()
  t.strictSame(
    batches.map(({ items }) => items),
    [[1]],
  )
  const others = [2, 3, 4].map(add)
  await turn()
  t.equal(batches.length, 1, 'nothing runs beside it')
  batches[0]?.end()
  t.equal(await first, 10)
  await turn()
  t.strictSame(batches[1]?.items, [2, 3, 4])
  batches[1]?.end()
  t.strictSame(await Promise.all(others), [20, 30, 40])
  const later = add(5)
  await turn()
  batches[2]?.end()
  t.equal(await later, 50, 'and again after a pause')
})

test('many calls are divided among all allowed batches; few stay together', async (t) => {
  const { add, batches } = gatedBatcher({ maxConcurrent: 4, minShare: 3 })
  const sizes = () => batches.map(({ items }) => items.length)
  const many = Promise.all(Array.from({ length: 20 }, (_, item) => add(item)))
  await turn()
  t.strictSame(sizes(), [5, 5, 5, 5])
  const more = Promise.all(Array.from({ length: 8 }, (_, item) => add(item)))
  batches[0]?.end()
  await turn()
  t.equal(sizes().at(-1), 6, 'a quarter of the 23 that are there')
  for (const batch of batches) batch.end()
  await many
  for (const batch of batches.slice(5)) batch.end()
  await turn()
  for (const batch of batches) batch.end()
  await more
  const few = Promise.all(Array.from({ length: 4 }, (_, item) => add(item)))
  await turn()
  t.strictSame(sizes().slice(-2), [3, 1])
  for (const batch of batches) batch.end()
  t.strictSame(await few, [0, 10, 20, 30])
})

test('batches have limited size and weight, and run in parallel up to the limit', async (t) => {
  const { add, batches } = gatedBatcher({
    maxConcurrent: 2,
    maxBatchSize: 3,
    weightOf: (item) => item,
    maxBatchWeight: 10,
  })
  const all = Promise.all([1, 1, 1, 6, 5, 50, 1].map(add))
  const done: number[][] = []
  while (done.flat().length < 7) {
    await turn()
    const underWay = batches.slice(done.length)
    t.ok(underWay.length <= 2)
    const [batch] = underWay
    if (!batch) continue
    done.push(batch.items)
    batch.end()
  }
  t.strictSame(done, [[1, 1, 1], [6], [5], [50], [1]], 'what is heavier than a batch goes alone')
  t.strictSame(await all, [10, 10, 10, 60, 50, 500, 10])
})

test('if too many calls wait, another one is refused, and the others are not', async (t) => {
  const { add, batches } = gatedBatcher({ maxWaiting: 2 })
  const first = add(1)
  await turn()
  const waiting = [add(2), add(3)]
  await t.rejects(add(4), { message: 'too many' })
  batches[0]?.end()
  await first
  await turn()
  batches[1]?.end()
  t.strictSame(await Promise.all(waiting), [20, 30])
})

test('the weight of waiting calls is limited, and finished and failed ones no longer count', async (t) => {
  const { add, batches } = gatedBatcher({ weightOf: (item) => item, maxWaitingWeight: 10 })
  const first = add(1)
  await turn()
  const second = add(6)
  await t.rejects(add(5), { message: 'too many' })
  const third = add(4)
  batches[0]?.end()
  await first
  await turn()
  const fourth = add(10)
  batches[1]?.fail(new Error('frozen'))
  for (const call of [second, third, fourth]) await t.rejects(call, { message: 'frozen' })
  const last = add(10)
  await turn()
  batches[2]?.end()
  t.equal(await last, 100)
})

test('a failure that affects all rejects the waiting calls, and no later ones', async (t) => {
  const { add, batches } = gatedBatcher()
  const first = add(1)
  await turn()
  const waiting = add(2)
  batches[0]?.fail(new Error('frozen'))
  await t.rejects(first, { message: 'frozen' })
  await t.rejects(waiting, { message: 'frozen' })
  const next = add(3)
  await turn()
  batches[1]?.end()
  t.equal(await next, 30)
})

test('a failure of one batch does not affect the waiting calls', async (t) => {
  const { add, batches } = gatedBatcher()
  const first = add(1)
  await turn()
  const waiting = add(2)
  batches[0]?.fail(new Error('a locked row'))
  await t.rejects(first, { message: 'a locked row' })
  await turn()
  batches[1]?.end()
  t.equal(await waiting, 20)
})

import { test } from 'tap'
import { createTurns } from '../../src/jobs/turns.ts'

test('the number of concurrent functions is limited, in order, even if some fail', async (t) => {
  const turn = createTurns(2)
  const begun: number[] = []
  const ends: (() => void)[] = []
  const work = (n: number) =>
    turn(async () => {
      begun.push(n)
      await new Promise<void>((end) => ends.push(end))
      if (n === 1) throw new Error('this one failed')
      return n
    })
  const all = Promise.allSettled([1, 2, 3, 4].map(work))
  const settle = () => new Promise((done) => setImmediate(done))
  await settle()
  t.strictSame(begun, [1, 2])
  ends[0]?.()
  await settle()
  t.strictSame(begun, [1, 2, 3])
  ends[1]?.()
  ends[2]?.()
  await settle()
  ends[3]?.()
  t.match(await all, [{ status: 'rejected' }, { value: 2 }, { value: 3 }, { value: 4 }])
  const last = work(5)
  await settle()
  ends[4]?.()
  t.equal(await last, 5)
})

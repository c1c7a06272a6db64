import { test } from 'tap'
import { createBodyBudget, type HeldBody } from '../../../src/plugins/limits/body-budget.ts'

/** A body that notes its refusal. */
function createBody({ isSmall = false } = {}): HeldBody & { isRefused: boolean } {
  return {
    bytes: 0,
    isSmall,
    isRefused: false,
    refuse() {
      this.isRefused = true
    },
  }
}

test('a large body beyond the budget is refused, and each release frees budget', async (t) => {
  const budget = createBodyBudget(100)
  const [first, second] = [createBody(), createBody()]
  t.ok(budget.resize(first, 60))
  t.notOk(budget.resize(second, 41))
  t.equal(budget.usedBytes, 60, 'what was refused is not counted')
  t.ok(budget.resize(second, 40), 'to the last byte')
  budget.release(first)
  budget.release(first)
  t.equal(budget.usedBytes, 40, 'a second release changes nothing')
  t.ok(budget.resize(second, 100))
  t.notOk(first.isRefused || second.isRefused)
})

test('a body that grows counts with its last size only', async (t) => {
  const budget = createBodyBudget(100)
  const body = createBody()
  for (const bytes of [10, 50, 100]) t.ok(budget.resize(body, bytes))
  t.equal(budget.usedBytes, 100)
  t.notOk(budget.resize(body, 101))
  t.equal(budget.usedBytes, 100)
})

test('a small body evicts the oldest bodies, and no more of them than necessary', async (t) => {
  const budget = createBodyBudget(100)
  const [oldest, older, latest] = [createBody(), createBody(), createBody()]
  for (const body of [oldest, older]) budget.resize(body, 30)
  budget.resize(latest, 40)
  t.ok(budget.resize(createBody({ isSmall: true }), 20))
  t.strictSame(
    [oldest, older, latest].map(({ isRefused }) => isRefused),
    [true, false, false],
  )
  t.equal(budget.usedBytes, 90)
})

test('a small body never evicts itself', async (t) => {
  const budget = createBodyBudget(100)
  const [small, stalled] = [createBody({ isSmall: true }), createBody()]
  budget.resize(small, 20)
  budget.resize(stalled, 80)
  t.ok(budget.resize(small, 60))
  t.ok(stalled.isRefused)
  t.notOk(small.isRefused)
  t.notOk(budget.resize(small, 101), 'there is no room for more than there is')
})

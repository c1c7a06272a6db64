import { test } from 'tap'
import { ASSUMPTIONS, sharesOf, simulate } from '../../bench/simulation.ts'

const USERS = 200_000

/** Within a twentieth: chance decides the rest. */
const isNear = (value: number, expected: number) => Math.abs(value / expected - 1) < 0.05

test('a day has the calls, syncs and webhooks that follow from its assumptions', async (t) => {
  const { dailyShare, visitsPerDay, visitMinutes, callsPerMinute, signInShare, amplitude } = ASSUMPTIONS
  const { newShare, profileChanges } = ASSUMPTIONS
  const { profileWarm, profileCold, sync, webhooks } = simulate(ASSUMPTIONS, USERS)
  const visits = dailyShare * visitsPerDay
  const calls = profileWarm.mean + profileCold.mean
  t.ok(isNear(calls * 86_400, visits * (1 + visitMinutes * callsPerMinute)))
  t.ok(isNear(sync.mean * 86_400, visits * signInShare))
  t.ok(isNear(webhooks.mean * 86_400, 3 * visits * signInShare + newShare / 30 + dailyShare * profileChanges))
  t.ok(isNear((profileWarm.peak + profileCold.peak) / calls, 1 + amplitude))
})

test('more replicas verify a token more often', async (t) => {
  const [one, many] = [1, 8].map((replicas) => simulate({ ...ASSUMPTIONS, replicas }, USERS))
  t.ok((many?.profileCold.mean ?? 0) > (one?.profileCold.mean ?? 0) * 1.5)
})

test('the same assumptions give the same figures, and shares that add up', async (t) => {
  t.strictSame(simulate(ASSUMPTIONS, 5_000), simulate(ASSUMPTIONS, 5_000))
  const shares = Object.values(sharesOf(simulate(ASSUMPTIONS, USERS)))
  t.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-9)
})

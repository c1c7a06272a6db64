import { test } from 'tap'
import {
  FINAL_SESSION_STATUSES,
  isFinal,
  isLaterState,
  type SessionState,
} from '../../../src/resources/session/change.ts'

const state = (status: string, updatedAt: number, eventAt: number | null = null): SessionState => ({
  id: 'sess_1',
  userId: 'user_1',
  status,
  clientId: null,
  version: { updatedAt, eventAt },
  createdAt: null,
  lastActiveAt: null,
  expireAt: null,
  abandonAt: null,
})

test('six states are final', async (t) => {
  for (const status of FINAL_SESSION_STATUSES) t.ok(isFinal(status), status)
  for (const status of ['active', 'pending', '', 'ENDED', 'constructor']) t.notOk(isFinal(status), status)
})

test('a final state is later than any other, then the newer one, then the name decides', async (t) => {
  const ascending = [
    state('active', 5),
    state('pending', 5),
    state('active', 5, 1),
    state('active', 5, 2),
    state('active', 9),
    state('revoked', 1),
    state('ended', 2),
    state('ended', 2, 1),
    state('revoked', 2, 1),
    state('ended', 2, 3),
  ]
  for (const [i, a] of ascending.entries()) {
    for (const [j, b] of ascending.entries()) t.equal(isLaterState(a, b), i > j, `${i} against ${j}`)
  }
})

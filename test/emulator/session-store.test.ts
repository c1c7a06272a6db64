import { test } from 'tap'
import { newSession } from '../../src/emulator/session-json.ts'
import { SessionStore } from '../../src/emulator/session-store.ts'

test('the last 10,000 ended sessions are kept', (t) => {
  const store = new SessionStore()
  const live = newSession('user_1', 'active', 0)
  store.put(live)
  const over = Array.from({ length: 10_001 }, (_, index) => newSession(`user_${index}`, 'active', index))
  for (const session of over) {
    store.put(session)
    store.put({ ...session, status: 'ended' })
  }
  t.equal(store.size, 10_001)
  t.equal(store.find(over[0]?.id ?? ''), undefined, 'the oldest is forgotten')
  t.same(store.ofUser('user_0'), [])
  t.ok(store.find(over[1]?.id ?? ''))
  t.same(
    store.ofUser('user_1').map(({ status }) => status),
    ['active', 'ended'],
    'live sessions stay',
  )
  const again = { ...(over[1] as typeof live), status: 'revoked' as const }
  store.put(again)
  t.equal(store.size, 10_001, 'a session ends once')

  const third = newSession('user_1', 'active', 0)
  for (const session of [third, newSession('user_x', 'active', 0)]) {
    store.put(session)
    store.put({ ...session, status: 'ended' })
  }
  t.same(
    store.ofUser('user_1').map(({ id }) => id),
    [live.id, third.id],
    'a user keeps the other sessions',
  )
  t.end()
})

import { setTimeout } from 'node:timers/promises'
import { verifyWebhook } from '@clerk/backend/webhooks'
import { test } from 'tap'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { manualClock, startClerk } from './start-clerk.ts'
import { type ReceivedRequest, startReceiver, statuses } from './start-receiver.ts'

/** What was received, as the request that Clerk's own verifier takes. */
const asRequest = ({ headers, body }: ReceivedRequest) =>
  new Request('http://localhost/clerk', { method: 'POST', headers: headers as Record<string, string>, body })

test('@clerk/backend verifies a webhook that was delivered', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clock = manualClock(1_700_000_000_000)
  const clerk = await startClerk(t, { webhookUrl: url, now: clock.now })
  const user = clerk.createUser({ firstName: 'Zoë' })
  await clerk.webhooks.idle()
  const [received] = requests as [ReceivedRequest]
  const event = await verifyWebhook(asRequest(received), { signingSecret: clerk.webhookSecret })
  t.match(event, { type: 'user.created', timestamp: 1_700_000_000_000, instance_id: clerk.instanceId })
  t.same(event.data, user)
  t.match(received.event, {
    object: 'event',
    instance_id: /^ins_[0-9A-Za-z]{27}$/,
    event_attributes: { http_request: { client_ip: '127.0.0.1', user_agent: /^Mozilla/ } },
  })
  t.match(received.headers, {
    'content-type': 'application/json',
    'user-agent': /^Svix-Webhooks\//,
    'svix-id': /^msg_[0-9A-Za-z]{27}$/,
    'svix-timestamp': /^\d{10}$/,
    'svix-signature': /^v1,[0-9A-Za-z+/]{43}=$/,
  })
  const wrongSecret = { signingSecret: `whsec_${Buffer.alloc(24).toString('base64')}` }
  await t.rejects(verifyWebhook(asRequest(received), wrongSecret), /No matching signature/)
  t.match(clerk.webhooks.deliveries, [
    {
      id: received.headers['svix-id'],
      type: 'user.created',
      state: 'delivered',
      body: received.body,
      attempts: [{ status: 200, body: '{"received":true}' }],
    },
  ])
})

test('an attempt without a 2xx is repeated by the schedule until there is one', async (t) => {
  const { url, requests } = await startReceiver(t, statuses(500, 302, 404))
  const clerk = await startClerk(t, { webhookUrl: url, retryScheduleMs: [10, 40, 20, 10] })
  const delivery = await clerk.webhooks.send('user.updated', { id: 'user_1' })
  t.equal(delivery.state, 'delivered')
  t.same(
    delivery.attempts.map(({ status }) => status),
    [500, 302, 404, 200],
  )
  const [first, second, third, fourth] = delivery.attempts.map(({ at }) => at) as [number, number, number, number]
  t.ok(second - first >= 9 && third - second >= 39 && fourth - third >= 19, 'the waits of the schedule')
  t.equal(new Set(requests.map(({ headers }) => headers['svix-id'])).size, 1, 'always the same message id')
  t.equal(new Set(requests.map(({ body }) => body)).size, 1, 'and the same bytes')
})

test('after the last attempt a message is given up', async (t) => {
  const { url } = await startReceiver(t, statuses(500, 500, 500))
  const clerk = await startClerk(t, { webhookUrl: url, retryScheduleMs: [1, 1] })
  clerk.createUser()
  await clerk.webhooks.idle()
  t.match(clerk.webhooks.deliveries, [{ state: 'failed', attempts: { length: 3 } }])
})

test("by default the schedule is Svix's, scaled", async (t) => {
  const { url, requests } = await startReceiver(t, (response) => response.writeHead(500).end())
  const clerk = await startClerk(t, { webhookUrl: url, retryScale: 1 / 400_000 })
  const delivery = await clerk.webhooks.send('user.updated', {})
  t.equal(requests.length, 8)
  const times = delivery.attempts.map(({ at }) => at)
  const waits = times.slice(1).map((at, index) => at - (times[index] as number))
  const expected = [0.0125, 0.75, 4.5, 18, 45, 90, 90]
  for (const [index, ms] of expected.entries()) t.ok((waits[index] as number) >= ms - 1.5, `${waits[index]} for ${ms}`)
  t.ok((times.at(-1) as number) - (times[0] as number) < 10_000)
})

test('a timeout and a refused connection count as failures', async (t) => {
  const { url } = await startReceiver(t, (response, index) => {
    if (index > 0) response.end()
  })
  const clerk = await startClerk(t, { webhookUrl: url, retryScheduleMs: [1, 1], webhookTimeoutMs: 100 })
  const slow = await clerk.webhooks.send('user.updated', {})
  t.match(slow, { state: 'delivered', attempts: [{ status: null, body: /No answer within 100 ms/ }] })
  const nobody = await clerk.webhooks.send('user.updated', {}, { url: 'http://127.0.0.1:1/' })
  t.match(nobody, { state: 'failed', attempts: { 0: { status: null, body: /ECONNREFUSED/ }, length: 3 } })
})

test('an incomplete answer counts as a failure', async (t) => {
  const { url } = await startReceiver(t, (response, index) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('the start')
    if (index === 0) void setTimeout(10).then(() => response.destroy())
    else response.end('x'.repeat(91))
  })
  const clerk = await startClerk(t, { webhookUrl: url, retryScheduleMs: [1] })
  const delivery = await clerk.webhooks.send('user.updated', {})
  t.match(delivery, { state: 'delivered', attempts: [{ status: null }, { status: 200 }] })
})

test('dropNext loses messages without an attempt', async (t) => {
  const { url, types } = await startReceiver(t)
  const clerk = await startClerk(t, { webhookUrl: url })
  clerk.webhooks.dropNext(2)
  for (const name of ['a', 'b', 'c']) await clerk.webhooks.send(name, {})
  t.same(types(), ['c'])
  t.match(clerk.webhooks.deliveries, [
    { state: 'dropped', attempts: { length: 0 } },
    { state: 'dropped' },
    { state: 'delivered' },
  ])
})

test('delayNext lets later messages overtake', async (t) => {
  const { url, types } = await startReceiver(t)
  const clerk = await startClerk(t, { webhookUrl: url })
  clerk.webhooks.delayNext(1, 250)
  const late = clerk.webhooks.send('late', {})
  await clerk.webhooks.send('soon', {})
  t.same(types(), ['soon'])
  t.equal(clerk.webhooks.deliveries[0]?.state, 'pending')
  await late
  t.same(types(), ['soon', 'late'])
})

test('duplicateNext sends a message twice at once, under one id', async (t) => {
  const { url, requests } = await startReceiver(t, statuses(500, 200))
  const clerk = await startClerk(t, { webhookUrl: url, retryScheduleMs: [] })
  clerk.webhooks.duplicateNext(1)
  const delivery = await clerk.webhooks.send('twice', {})
  await clerk.webhooks.send('once', {})
  t.same(
    requests.map(({ event }) => event.type),
    ['twice', 'twice', 'once'],
  )
  t.equal(requests[0]?.headers['svix-id'], requests[1]?.headers['svix-id'])
  t.match(delivery, { state: 'delivered', attempts: { length: 2 } }, 'one success of the two is enough')
})

test('held messages go out in the order asked for', async (t) => {
  const { url, requests, types } = await startReceiver(t, (response) => void setTimeout(2).then(() => response.end()))
  const clerk = await startClerk(t, { webhookUrl: url })
  const { webhooks } = clerk
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  const sendAll = () => Promise.all(names.map((name) => webhooks.send(name, {})))

  webhooks.hold()
  webhooks.hold()
  t.ok((await sendAll()).every(({ state }) => state === 'held'))
  await webhooks.idle()
  t.same(types(), [], 'what is held does not keep idle() waiting')
  await webhooks.release()
  t.same(types(), names)

  requests.length = 0
  webhooks.hold()
  await sendAll()
  void webhooks.release({ order: 'reverse' })
  await webhooks.idle()
  t.same(types(), names.toReversed(), 'what was released does')

  requests.length = 0
  webhooks.hold()
  await sendAll()
  await webhooks.release({ order: 'random' })
  t.same(types().toSorted(), names)

  await webhooks.release()
  t.equal(requests.length, names.length, 'there is nothing to release twice')
})

test('a release continues after a message that must be retried', async (t) => {
  const { url, types } = await startReceiver(t, statuses(500))
  const clerk = await startClerk(t, { webhookUrl: url, retryScheduleMs: [250] })
  clerk.webhooks.hold()
  for (const name of ['a', 'b']) await clerk.webhooks.send(name, {})
  await clerk.webhooks.release()
  t.same(types(), ['a', 'b'])
  await clerk.webhooks.idle()
  t.same(types(), ['a', 'b', 'a'])
})

test('a disabled endpoint gets nothing, also not later', async (t) => {
  const { url, types } = await startReceiver(t, statuses(500))
  const clerk = await startClerk(t, { retryScheduleMs: [30] })
  t.equal((await clerk.webhooks.send('nowhere', {})).state, 'skipped')
  clerk.webhooks.url = url
  const retried = clerk.webhooks.send('retried', {})
  clerk.webhooks.enabled = false
  const lost = await clerk.webhooks.send('lost', {})
  t.equal(lost.state, 'skipped')
  t.equal((await retried).state, 'skipped', 'not even a retry')
  clerk.webhooks.enabled = true
  await clerk.webhooks.idle()
  t.same(types(), ['retried'])
  t.equal((await clerk.webhooks.replay(lost.id)).state, 'delivered')
  t.same(types(), ['retried', 'lost'])
})

test('a replay sends the same message again', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clerk = await startClerk(t, { webhookUrl: url })
  const { id } = await clerk.webhooks.send('user.updated', { id: 'user_1' }, { id: 'msg_1', timestamp: 123 })
  t.equal(id, 'msg_1')
  t.match(await clerk.webhooks.replay(id), { state: 'delivered', attempts: { length: 2 } })
  t.equal(requests[0]?.body, requests[1]?.body)
  t.equal(requests[1]?.headers['svix-id'], 'msg_1')
  t.equal(requests[0]?.event.timestamp, 123)
  await t.rejects(clerk.webhooks.replay('msg_unknown'), /No delivery with the id msg_unknown/)
})

test('an event may be signed with another secret and go elsewhere', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clerk = await startClerk(t)
  const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
  t.equal((await clerk.webhooks.send('user.updated', {}, { url, secret })).state, 'delivered')
  const [received] = requests as [ReceivedRequest]
  t.ok(await verifyWebhook(asRequest(received), { signingSecret: secret }))
  await t.rejects(verifyWebhook(asRequest(received), { signingSecret: clerk.webhookSecret }))
  await t.rejects(clerk.webhooks.send('user.updated', {}, { url, secret: 'whsec_' }), /signing secret has no key/)
  await t.rejects(createClerkEmulator({ webhookSecret: 'whsec_' }), /signing secret has no key/)
})

test('events are sent in parallel', async (t) => {
  let open = 0
  let most = 0
  const { url } = await startReceiver(t, (response) => {
    most = Math.max(most, ++open)
    void setTimeout(20).then(() => response.end(() => open--))
  })
  const clerk = await startClerk(t, { webhookUrl: url })
  for (let count = 0; count < 200; count++) clerk.createUser()
  await clerk.webhooks.idle()
  t.ok(most > 10 && most <= 64, `${most} at the same time`)
})

test('connections are kept while the emulator runs, and no longer', async (t) => {
  const { url, countConnections } = await startReceiver(t)
  const clerk = await createClerkEmulator({ webhookUrl: url })
  for (const name of ['a', 'b']) await clerk.webhooks.send(name, {})
  t.equal(await countConnections(), 1)
  await clerk.close()
  const deadline = performance.now() + 5_000
  while ((await countConnections()) > 0 && performance.now() < deadline) await setTimeout(5)
  t.equal(await countConnections(), 0)
})

test('the last 1,000 deliveries are kept', async (t) => {
  const clerk = await startClerk(t)
  for (let count = 0; count < 1_010; count++) await clerk.webhooks.send(`event ${count}`, {})
  t.equal(clerk.webhooks.deliveries.length, 1_000)
  t.equal(clerk.webhooks.deliveries[0]?.type, 'event 10')
})

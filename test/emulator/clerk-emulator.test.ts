import { execFile } from 'node:child_process'
import { networkInterfaces } from 'node:os'
import { promisify } from 'node:util'
import { parsePublishableKey } from '@clerk/shared/keys'
import { Webhook } from 'svix'
import { test } from 'tap'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { startClerk } from './start-clerk.ts'
import { startReceiver } from './start-receiver.ts'

const run = promisify(execFile)

test('each emulator is an instance of its own', async (t) => {
  const [one, two] = [await startClerk(t), await startClerk(t)]
  for (const name of ['url', 'secretKey', 'webhookSecret', 'publishableKey', 'instanceId', 'jwtKey'] as const) {
    t.not(one[name], two[name], name)
  }
  t.match(one, { secretKey: /^sk_test_[0-9A-Za-z]{40}$/, webhookSecret: /^whsec_[0-9A-Za-z+/]{32}$/ })
  t.equal(one.url, one.issuer)
  t.equal(one.url, one.apiUrl)
  t.match(one.jwtKey, /^-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A/)
})

test('the publishable key contains the address, as clerk-js and @clerk/shared read it', async (t) => {
  const clerk = await startClerk(t)
  t.equal(clerk.publishableKey, `pk_test_${btoa(`${new URL(clerk.url).host}$`)}`)
  t.match(parsePublishableKey(clerk.publishableKey), {
    instanceType: 'development',
    frontendApi: new URL(clerk.url).host,
  })
})

test('secrets and port are as they were asked for', async (t) => {
  const free = await createClerkEmulator()
  const port = Number(new URL(free.url).port)
  await free.close()
  const webhookSecret = `whsec_${Buffer.alloc(24, 1).toString('base64')}`
  const clerk = await startClerk(t, { port, secretKey: 'sk_test_mine', webhookSecret })
  t.match(clerk, { url: `http://127.0.0.1:${port}`, secretKey: 'sk_test_mine', webhookSecret })
  await t.rejects(createClerkEmulator({ port }), { code: 'EADDRINUSE' })
})

test('only this machine can reach it', async (t) => {
  const clerk = await startClerk(t)
  const { port } = new URL(clerk.url)
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  for (const { address, family } of addresses.filter(({ address }) => address !== '127.0.0.1')) {
    const host = family === 'IPv6' ? `[${address}]` : address
    // Link-local addresses need a zone, which URLs have no room for.
    if (!host.startsWith('[fe80')) await t.rejects(fetch(`http://${host}:${port}/emulator/state`), host)
  }
  t.equal((await fetch(`${clerk.url}/emulator/state`)).status, 200)
})

test('sign makes the Svix headers of a body', async (t) => {
  const clerk = await startClerk(t)
  const body = '{"price": 1.0}'
  const headers = clerk.sign(body)
  t.match(headers, { 'svix-id': /^msg_/, 'svix-timestamp': /^\d{10}$/ })
  t.doesNotThrow(() => new Webhook(clerk.webhookSecret).verify(body, headers))
  t.throws(() => new Webhook(clerk.webhookSecret).verify('{"price": 1}', headers))

  const secret = `whsec_${Buffer.alloc(24, 2).toString('base64')}`
  const old = clerk.sign(body, { id: 'msg_1', timestampSeconds: 1_700_000_000, secret })
  t.match(old, { 'svix-id': 'msg_1', 'svix-timestamp': '1700000000' })
  t.throws(() => new Webhook(secret).verify(body, old), /too old/)
  t.equal(old['svix-signature'], new Webhook(secret).sign('msg_1', new Date(1_700_000_000_000), body))
})

test('close ends retries, delays, held messages, hanging requests and open attempts', async (t) => {
  const { url, requests } = await startReceiver(t, (response, index) => {
    if (index === 0) response.writeHead(500).end()
  })
  const clerk = await createClerkEmulator({ webhookUrl: url, retryScheduleMs: [60_000], webhookTimeoutMs: 60_000 })
  const { webhooks } = clerk
  const retried = webhooks.send('retried', {})
  while (webhooks.deliveries[0]?.attempts.length !== 1) await new Promise((resolve) => setTimeout(resolve, 2))
  const open = webhooks.send('open', {})
  while (requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 2))
  webhooks.delayNext(1, 60_000)
  const delayed = webhooks.send('delayed', {})
  webhooks.hold()
  await webhooks.send('held', {})
  clerk.faults.jwks = 'hang'
  const hanging = t.rejects(fetch(`${clerk.url}/.well-known/jwks.json`))
  while (clerk.stats.jwksRequests === 0) await new Promise((resolve) => setTimeout(resolve, 2))

  const start = performance.now()
  await Promise.all([clerk.close(), clerk.close()])
  t.ok(performance.now() - start < 10_000)
  await hanging
  t.same([(await retried).state, (await open).state, (await delayed).state], ['skipped', 'skipped', 'skipped'])
  await t.rejects(fetch(`${clerk.url}/emulator/state`), 'the port is free')
  await clerk.close()

  clerk.webhooks.enabled = true
  await webhooks.release()
  t.equal(webhooks.deliveries.at(-1)?.state, 'skipped', 'what is released after the end goes nowhere')
  t.equal(requests.length, 2)
})

test('a process whose emulator is closed comes to its end by itself', async (t) => {
  const script = `
    import { createClerkEmulator } from ${JSON.stringify(new URL('../../src/emulator/index.ts', import.meta.url))}
    const clerk = await createClerkEmulator({ retryScheduleMs: [60_000] })
    clerk.webhooks.url = clerk.url + '/nothing'
    clerk.faults.api = { delayMs: 60_000 }
    fetch(clerk.url + '/v1/users', { headers: { authorization: 'Bearer ' + clerk.secretKey } }).catch(() => {})
    clerk.signIn(clerk.createUser().id)
    while (clerk.webhooks.deliveries.some(({ attempts }) => attempts.length === 0) || clerk.stats.apiRequests === 0) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await clerk.close()
    console.log('closed')
  `
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], { timeout: 30_000 })
  t.equal(stdout, 'closed\n')
})

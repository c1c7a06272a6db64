import { Agent, get } from 'node:http'
import tap, { test } from 'tap'
import { createProduction, type Production } from '../helpers/production.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(900_000)

const LANES = 50

const signedIn = ({ clerk }: Production) => clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)

/** One request after the other over one connection, until a reply ends it. Resolves to their statuses; a reset rejects. */
async function callUntilClosed(url: string, headers: Record<string, string>, onReply: () => void): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const statuses: number[] = []
  for (let isOver = false; !isOver; ) {
    await new Promise<void>((done, fail) => {
      get(url, { agent, headers }, (response) => {
        statuses.push(response.statusCode as number)
        isOver = response.headers.connection === 'close'
        response.resume().once('end', done)
        onReply()
      }).once('error', fail)
    })
  }
  agent.destroy()
  return statuses
}

test('SIGTERM under load: health turns 503, no accepted request is reset, and it ends with 0', async (t) => {
  const production = await createProduction(t)
  const service = await production.start()
  const headers = { authorization: `Bearer ${signedIn(production)}` }
  let replies = 0
  const lanes = Promise.all(
    Array.from({ length: LANES }, () =>
      callUntilClosed(`${service.url}/api/auth/profile`, headers, () => {
        replies += 1
      }),
    ),
  )
  await waitUntil('the load', async () => replies > 5 * LANES)
  service.child.kill('SIGTERM')
  await service.until(/"closing"/)
  const health = await fetch(`${service.url}/readyz`)
  t.equal(health.status, 503, 'while requests are still served')
  const statuses = (await lanes).flat()
  t.strictSame(new Set(statuses), new Set([200]), `${statuses.length} requests, all of them answered`)
  t.equal(await service.exit, 0)
})

test('a second signal ends it at once', async (t) => {
  const production = await createProduction(t)
  const service = await production.start()
  production.clerk.faults.api = { delayMs: 60_000 }
  const call = fetch(`${service.url}/api/auth/profile`, {
    headers: { authorization: `Bearer ${signedIn(production)}` },
  })
  call.catch(() => undefined)
  await waitUntil('the call under way', async () => production.clerk.stats.apiRequests > 0)
  service.child.kill('SIGTERM')
  await service.until(/"closing"/)
  service.child.kill('SIGINT')
  t.equal(await service.exit, 1)
  t.match(service.output(), /second SIGINT, exiting/)
})

test('an unhandled rejection is logged, and the process exits with code 1 after the accepted requests', async (t) => {
  const throwing = 'data:text/javascript,process.on("SIGWINCH",()=>{Promise.reject(new Error("boom"))})'
  const production = await createProduction(t)
  const service = await production.start(undefined, ['--import', throwing])
  production.clerk.faults.api = { delayMs: 1_000 }
  const headers = { authorization: `Bearer ${signedIn(production)}` }
  const call = fetch(`${service.url}/api/auth/profile`, { headers })
  await waitUntil('the call under way', async () => production.clerk.stats.apiRequests > 0)
  service.child.kill('SIGWINCH')
  await service.until(/unexpected error, closing/)
  t.equal((await fetch(`${service.url}/readyz`)).status, 503, 'others are told to go elsewhere')
  t.equal((await call).status, 200)
  t.equal(await service.exit, 1)
  t.match(service.output(), /boom/)
})

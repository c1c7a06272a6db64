/** Two replicas behind a real nginx with the documented configuration. */
import { readFileSync } from 'node:fs'
import tap, { type Test, test } from 'tap'
import { readFixture } from '../helpers/fixture.ts'
import { startNginx } from '../helpers/nginx.ts'
import { createProduction } from '../helpers/production.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(900_000)

const CONFIGURATION = readFileSync(new URL('../../examples/nginx/replicas.conf', import.meta.url), 'utf8')
const LANES = 8

async function startReplicas(t: Test) {
  const production = await createProduction(t)
  const replicas = [await production.start(), await production.start()] as const
  const url = await startNginx(t, (port) =>
    [
      ['127.0.0.1:3000', `127.0.0.1:${replicas[0].port}`],
      ['127.0.0.1:3001', `127.0.0.1:${replicas[1].port}`],
      ['127.0.0.1:80;', `127.0.0.1:${port};`],
    ].reduce((text, [documented, real]) => {
      const pieces = text.split(documented as string)
      if (pieces.length !== 2) throw new Error(`replicas.conf should have "${documented}" once`)
      return pieces.join(real)
    }, CONFIGURATION),
  )
  return { ...production, replicas, url }
}

test('both replicas are restarted one after the other under load, and no request fails', async (t) => {
  const { clerk, database, replicas, url, start } = await startReplicas(t)
  const tokens = Array.from({ length: 20 }, () => clerk.sessionToken(clerk.signIn(clerk.createUser().id).id))
  const failures: string[] = []
  let answered = 0
  let acknowledged = 0
  let isOver = false

  const webhook = (id: string): RequestInit => {
    const event = readFixture('user.created')
    const body = JSON.stringify({ ...event, data: { ...event.data, id: `user_${id}` } })
    return { method: 'POST', body, headers: { 'content-type': 'application/json', ...clerk.sign(body, { id }) } }
  }
  const lanes = Array.from({ length: LANES }, async (_, lane) => {
    for (let i = 0; !isOver; i += 1) {
      const headers = { authorization: `Bearer ${tokens[i % tokens.length]}` }
      const [path, init] = (
        [
          ['/api/auth/profile', { headers }],
          ['/api/auth/sync-user', { method: 'POST', headers }],
          ['/clerk', webhook(`msg_${lane}_${i}`)],
        ] as const
      )[i % 3] as [string, RequestInit]
      const reply = await fetch(url + path, init)
      const text = await reply.text()
      answered += 1
      if (!reply.ok) failures.push(`${path}: ${reply.status} ${text}`)
      else if (path === '/clerk') acknowledged += 1
    }
  })
  await waitUntil('the load', async () => answered > 100)
  for (const { child, exit, port } of replicas) {
    const before = answered
    child.kill('SIGTERM')
    t.equal(await exit, 0)
    await waitUntil('the other serving alone', async () => answered > before + 100)
    await start(port)
    await waitUntil('both serving', async () => answered > before + 200)
  }
  isOver = true
  await Promise.all(lanes)
  t.strictSame(failures, [], `of ${answered} requests`)
  t.match(await database.query("select count(*)::int from webhook_events where outcome <> 'failed'"), [
    { count: acknowledged },
  ])
})

test('a session that ends through one replica is refused by the other on its next request', async (t) => {
  const { clerk, replicas } = await startReplicas(t)
  const [one, two] = replicas
  clerk.webhooks.url = `${one.url}/clerk`
  for (const end of ['endSession', 'revokeSession', 'removeSession'] as const) {
    const { id } = clerk.signIn(clerk.createUser().id)
    await clerk.webhooks.idle()
    const headers = { authorization: `Bearer ${clerk.sessionToken(id)}` }
    // Also what a replica keeps of tokens that it has verified before must not let it through.
    for (const { url } of replicas) t.equal((await fetch(`${url}/api/auth/profile`, { headers })).status, 200)
    clerk[end](id)
    await clerk.webhooks.idle()
    const refused = await fetch(`${two.url}/api/auth/profile`, { headers })
    t.match([refused.status, await refused.json()], [401, { code: 'SESSION_REVOKED' }], end)
  }
})

/** What the doctor says of organizations. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'tap'
import { startCommandLine } from '../helpers/command-line.ts'
import { startService } from '../helpers/service.ts'

interface Check {
  name: string
  status: string
}

test('organizations whose events never came are named with the remedy', async (t) => {
  const service = await startService(t)
  const { clerk, database } = service
  const { run } = await startCommandLine(
    t,
    {},
    {
      DATABASE_URL: database.url,
      CLERK_ISSUER: clerk.issuer,
      CLERK_API_URL: clerk.apiUrl,
      CLERK_SECRET_KEY: clerk.secretKey,
      CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
      CLERK_AUTHORIZED_PARTIES: 'http://localhost:5173',
    },
  )
  const examine = async () =>
    (await run('doctor', '--url', service.url, '--json')).json.checks.find(
      ({ name }: Check) => name === 'organization events',
    )
  t.equal(await examine(), undefined, 'an instance without organizations needs none')

  const user = clerk.createUser()
  const organization = clerk.organizations.create({ created_by: user.id })
  await clerk.webhooks.idle()
  t.match(await examine(), {
    status: 'warn',
    detail: /1 organization; no role\.\*, organizationInvitation\.\* event came recently/,
    remedy: /subscribe to these events, then run clerk-session-sync backfill/,
  })
  clerk.organizations.createRole({ key: 'org:editor' })
  clerk.organizations.invite(organization.id, 'mary@example.com')
  await clerk.webhooks.idle()
  t.match(await examine(), { status: 'pass', detail: 'an instance with 1 organization' })

  await database.query("delete from webhook_events where type like 'organizationMembership.%'")
  t.match(await examine(), { status: 'warn', detail: /no organizationMembership\.\* event came recently/ })

  const service403 = { status: 403, headers: { 'content-type': 'application/json' }, body: '{"errors":[]}' }
  clerk.faults.api = service403
  t.equal(await examine(), undefined)
})

test('an instance without organizations passes; a failing list of them is one failed check beside the others', async (t) => {
  const service = await startService(t)
  const { clerk, database } = service
  clerk.createUser()
  await clerk.webhooks.idle()
  let status = 403
  // Only this list answers differently, as with a Clerk instance whose organizations are off.
  const server = createServer(async ({ url = '', headers: { authorization = '' } }, response) => {
    if (url.startsWith('/v1/organizations')) return response.writeHead(status).end('{"errors":[]}')
    const answer = await fetch(clerk.apiUrl + url, { headers: { authorization } })
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { run } = await startCommandLine(
    t,
    {},
    {
      DATABASE_URL: database.url,
      CLERK_ISSUER: clerk.issuer,
      CLERK_API_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      CLERK_SECRET_KEY: clerk.secretKey,
      CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
      CLERK_AUTHORIZED_PARTIES: 'http://localhost:5173',
    },
  )
  const examine = async () => {
    const { checks } = (await run('doctor', '--url', service.url, '--json')).json as { checks: Check[] }
    const about = checks.filter(({ name }) => name.startsWith('organization'))
    return { about, hasDrift: checks.some(({ name }) => name === 'drift') }
  }
  t.strictSame(await examine(), { about: [], hasDrift: true })
  status = 400
  t.match(await examine(), { about: [{ name: 'organizations', status: 'fail' }], hasDrift: true })
})

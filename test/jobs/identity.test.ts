import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import tap, { type Test, test } from 'tap'
import { ClerkRefusal, ClerkUnavailable } from '../../src/clerk/api-errors.ts'
import { createBackendApi } from '../../src/clerk/backend-api.ts'
import { isDatabaseTrouble, markTrouble } from '../../src/db/errors.ts'
import { findInstanceId } from '../../src/db/instance.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { checkIdentity, InstanceMismatch } from '../../src/jobs/identity.ts'
import { startRepository } from '../helpers/repository.ts'
import { createSigner } from '../helpers/signer.ts'

tap.setTimeout(900_000)

async function start(t: Test) {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const { pool: executor } = await startRepository(t)
  const api = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, maxAttempts: 1 })
  return { clerk, executor, api, issuer: clerk.issuer }
}

test('the first check stores the instance, and later checks compare with it', async (t) => {
  const { clerk, ...options } = await start(t)
  await checkIdentity({ ...options, issuer: undefined })
  t.equal(await findInstanceId(options.executor), undefined, 'not where no issuer vouches for the key')
  await checkIdentity(options)
  await checkIdentity({ ...options, issuer: undefined })
  t.equal(await findInstanceId(options.executor), clerk.instanceId)
})

test("a fixed key is compared instead of the issuer's keys", async (t) => {
  const { clerk, ...options } = await start(t)
  await checkIdentity({ ...options, issuer: 'http://127.0.0.1:9', jwtKey: clerk.jwtKey })
  const other = createSigner()
  await t.rejects(checkIdentity({ ...options, jwtKey: other.pem }), new InstanceMismatch(), 'another key')
  await t.rejects(checkIdentity({ ...options, jwtKey: other.pem }), {
    message: /CLERK_SECRET_KEY .* than CLERK_JWT_KEY/,
  })
})

test('a comparison is skipped with a warning if the API lacks the endpoint', async (t) => {
  const options = await start(t)
  const warnings: string[] = []
  const api = { findKeys: async () => undefined, findInstance: async () => undefined }
  await checkIdentity({ ...options, api, onWarning: (message) => warnings.push(message) })
  t.match(warnings, [/\/v1\/jwks/, /\/v1\/instance/])
  await checkIdentity({ ...options, api })
  const stranger = { findKeys: async () => [], findInstance: async () => undefined }
  await t.rejects(checkIdentity({ ...options, api: stranger }), { message: /\(unknown, which signs with no key\)/ })
})

test('a wrong key is a refusal; an unreachable Clerk is a different error', async (t) => {
  const { clerk, ...options } = await start(t)
  const ask = (secretKey: string, apiUrl: string) => createBackendApi({ secretKey, apiUrl, maxAttempts: 1 })
  const wrong = ask('sk_test_wrong', clerk.apiUrl)
  await t.rejects(checkIdentity({ ...options, api: wrong }), new ClerkRefusal(401, 'GET /v1/jwks'))
  const nobody = ask(clerk.secretKey, 'http://127.0.0.1:9')
  await t.rejects(checkIdentity({ ...options, api: nobody }), { name: 'ClerkUnavailable' })
  await t.rejects(checkIdentity({ ...options, issuer: 'http://127.0.0.1:9' }), {
    name: new ClerkUnavailable('').name,
    message: /no signing keys at CLERK_ISSUER/,
  })
  t.equal(await findInstanceId(options.executor), undefined)
})

test('a bug is not taken for a database problem, whatever its message says', (t) => {
  const bug = new TypeError("Cannot read properties of undefined (reading 'timeoutMs')")
  t.throws(() => markTrouble(bug), bug)
  t.notOk(isDatabaseTrouble(bug))
  t.end()
})

test('the message of a mismatch names the keys of both sides, also of an issuer without any', async (t) => {
  const { clerk, ...options } = await start(t)
  const server = createServer((_request, response) => response.end('{"keys":[]}')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const message = new RegExp(
    `^CLERK_SECRET_KEY belongs to another Clerk instance \\(${clerk.instanceId}, .* than CLERK_ISSUER \\(${issuer}, which signs with no key\\)`,
  )
  await t.rejects(checkIdentity({ ...options, issuer }), { name: 'InstanceMismatch', message })
})

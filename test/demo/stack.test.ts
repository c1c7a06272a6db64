import { request } from 'node:http'
import { join } from 'node:path'
import { test } from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { freePorts, ROOT, runNode } from '../helpers/process.ts'

const STACK = join(ROOT, 'src/demo/stack.ts')
// Another address of loopback, for that of the container.
const ADDRESS = '127.0.0.2'

test('one process with service, emulator and demo, on a database that is set', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  const port = await freePorts()
  const cwd = t.testdir({ '.data': { demo: { 'index.html': '<title>demo</title>', assets: {} } } })
  const env = { NODE_ENV: 'development', LOG_LEVEL: 'warn', PORT: String(port), DATABASE_URL: database.url }
  const stack = runNode(t, [STACK, ADDRESS], env, { cwd })
  await stack.until(/See it work: http:\/\/127\.0\.0\.1:\d+\/demo/)
  const { status } = await fetch(`http://127.0.0.1:${port}/readyz`)
  t.equal(status, 200)
  const issuer = `http://127.0.0.1:${port + 1}`
  const { keys } = (await (await fetch(`${issuer}/.well-known/jwks.json`)).json()) as { keys: object[] }
  t.equal(keys.length, 1)
  const published = `http://${ADDRESS}:${port + 1}/.well-known/jwks.json`
  t.equal((await fetch(published)).status, 200, 'passed on, as to the port that is published')
  t.equal(await statusWithHost(`${issuer}/emulator/state`, 'evil.example'), 403, 'its own checks stay')
  stack.child.kill('SIGTERM')
  t.equal(await stack.exit, 0)
})

test('it refuses to show the demo of a real instance', async (t) => {
  const stack = runNode(t, [STACK, ADDRESS], {
    NODE_ENV: 'development',
    PORT: String(await freePorts()),
    DATABASE_URL: 'postgres://nobody:nothing@127.0.0.1:1/none',
    CLERK_ISSUER: 'https://clerk.example.com',
    CLERK_WEBHOOK_SIGNING_SECRET: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  })
  t.equal(await stack.exit, 1)
  t.match(stack.output(), /the demo is for its own emulator: .* unset CLERK_ISSUER/)
})

/** `fetch` sets the Host header itself. */
const statusWithHost = (url: string, host: string) =>
  new Promise((done, fail) => {
    request(url, { headers: { host } }, (response) => done(response.resume().statusCode))
      .on('error', fail)
      .end()
  })

/** Behind a corporate proxy: what the service asks of Clerk goes through it, when Node.js is told to. */
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'tap'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { createDatabase } from '../helpers/database.ts'
import { ROOT, runNode } from '../helpers/process.ts'

test('with NODE_USE_ENV_PROXY, keys and profiles are fetched through the proxy', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const database = await createDatabase(t)
  const asked = new Set<string>()
  const proxy = createServer()
  // Node.js opens a tunnel for http, too. The names that stand for Clerk exist behind this proxy alone.
  proxy.on('connect', ({ url = '' }, client: Socket, head) => {
    asked.add(url)
    const target = new URL(url.startsWith('api.') ? clerk.apiUrl : clerk.issuer)
    const upstream = connect(Number(target.port), target.hostname, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      // The emulator answers to names of this machine alone.
      const toLocal = (data: Buffer) => data.toString('latin1').replace(/^host: .*$/im, `Host: ${target.host}`)
      upstream.write(toLocal(head), 'latin1')
      client.on('data', (data) => upstream.write(toLocal(data), 'latin1'))
      upstream.pipe(client)
    })
    for (const socket of [client, upstream]) socket.on('error', () => socket.destroy())
  })
  await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done))
  t.teardown(() => proxy.close())
  const issuer = 'http://clerk.nowhere.invalid'
  const env = {
    NODE_ENV: 'test',
    PORT: '0',
    HOST: '127.0.0.1',
    DATABASE_URL: database.url,
    CLERK_ISSUER: issuer,
    CLERK_API_URL: 'http://api.nowhere.invalid',
    CLERK_SECRET_KEY: clerk.secretKey,
    NODE_USE_ENV_PROXY: '1',
    HTTP_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
  }
  const { until, child, exit } = runNode(t, [join(ROOT, 'src/server.ts')], env)
  const [, url = ''] = await until(/Server listening at (http:\/\/127\.0\.0\.1:\d+)/)
  const user = clerk.createUser({ email: 'ada@example.com' })
  const token = clerk.sessionToken(clerk.signIn(user.id).id, { claims: { iss: issuer } })
  const reply = await fetch(`${url}/api/auth/profile`, { headers: { authorization: `Bearer ${token}` } })
  t.match(await reply.json(), { user: { id: user.id, email: 'ada@example.com' } })
  t.strictSame([...asked].sort(), ['api.nowhere.invalid:80', 'clerk.nowhere.invalid:80'], 'keys and profile')
  child.kill('SIGTERM')
  t.equal(await exit, 0)
})

/** The backends of examples/, in their own languages, behind the real nginx and beside the service's own tables. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'tap'
import { migrate } from '../../src/db/migrate.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { createDatabase } from '../helpers/database.ts'
import { freePorts, ROOT } from '../helpers/process.ts'
import { PROXIES, type StartProxy, start } from '../helpers/proxies.ts'
import { sendRaw } from '../helpers/raw-http.ts'
import { startService } from '../helpers/service.ts'

const FOLDER = join(ROOT, 'examples/backends')

/** How a backend is started on a port; `directory` is for what is built first. */
type Command = (port: number, directory: string) => [command: string, ...args: string[]]

const BACKENDS: Record<string, Command> = {
  express: () => [process.execPath, 'server.mjs'],
  go: (_port, directory) => {
    const binary = join(directory, 'backend')
    // With Debian's packages, and so without a network; elsewhere go.mod names the same.
    const env = { PATH: process.env.PATH, HOME: directory, GO111MODULE: 'off', GOPATH: '/usr/share/gocode' }
    execFileSync('go', ['build', '-o', binary, 'main.go'], { cwd: join(FOLDER, 'go'), env })
    return [binary]
  },
  fastapi: (port) => ['/usr/bin/python3', '-m', 'uvicorn', 'app:app', '--host', '127.0.0.1', '--port', `${port}`],
  rack: (port) => ['/usr/bin/puma', '-b', `tcp://127.0.0.1:${port}`, '-e', 'production', 'config.ru'],
}

for (const [name, commandFor] of Object.entries(BACKENDS)) {
  test(`${name}: the user from the headers, the row from the table`, async (t) => {
    const database = await createDatabase(t, { isEmpty: true })
    await migrate(database.url, { schema: 'clerk' })
    const clerk = await createClerkEmulator()
    t.teardown(() => clerk.close())
    const service = await startService(t, { beside: { clerk, database }, settings: { DATABASE_SCHEMA: 'clerk' } })
    clerk.webhooks.url = `${service.url}/clerk`
    const port = await freePorts()
    const directory = t.testdir()
    const [command, ...args] = commandFor(port, directory)
    const backend = await start(t, command, args, port, {
      cwd: join(FOLDER, name),
      PORT: `${port}`,
      DATABASE_URL: `${database.url}?sslmode=disable`,
      HOME: directory,
      PYTHONDONTWRITEBYTECODE: '1',
    })
    const addresses = { service: new URL(service.url).host, application: new URL(backend).host }
    const url = await (PROXIES.nginx as StartProxy)(t, addresses)
    const call = async (path: string, email: string, rights: object = {}) => {
      const user = clerk.createUser({ email, firstName: 'Ada' })
      const token = clerk.sessionToken(clerk.signIn(user.id).id, { claims: rights })
      await clerk.webhooks.idle()
      const headers = [
        `Authorization: Bearer ${token}`,
        'X-Auth-Request-User: user_evil',
        'X-Auth-Request-Role: org:admin',
        'Connection: close',
      ]
      const { status, body } = await sendRaw(url + path, { headers })
      const parsed = JSON.parse(Buffer.from(body, 'latin1').toString('utf8'))
      return [status, parsed.detail ?? parsed, user.id]
    }
    for (const email of ['ada+x@example.com', '100%@example.com', 'zoë@example.com', 'łukasz@example.com']) {
      const [status, body, id] = await call('/me', email)
      t.strictSame([status, body], [200, { id, email, role: null }], email)
    }
    const [status, body, id] = await call('/account', 'grace@example.com')
    t.strictSame([status, body], [200, { id, email: 'grace@example.com', firstName: 'Ada' }])
    t.match(await call('/admin', 'bob@example.com'), [403, { code: 'ADMINS_ONLY' }])
    const admin = { o: { id: 'org_1', slg: 'acme', rol: 'admin' } }
    t.match(await call('/admin', 'eve@example.com', admin), [200, { welcome: /^user_/ }])
    t.match(await sendRaw(`${backend}/me`, { headers: ['Connection: close'] }), { status: 401 })
  })
}

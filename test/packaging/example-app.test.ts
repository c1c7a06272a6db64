/** examples/app as its reader has it: the packages installed, type-checked, built, started, and used in a real browser. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { startBrowser, watchPage } from '../helpers/browser.ts'
import { createDatabase } from '../helpers/database.ts'
import { installPackage } from '../helpers/installed.ts'
import { freePorts, ROOT, runBuilt } from '../helpers/process.ts'

test('the example application: sign in, order, and find it in the database', { timeout: 600_000 }, async (t) => {
  const { folder, add } = installPackage(t)
  cpSync(join(ROOT, 'examples/app'), folder, {
    recursive: true,
    filter: (path) => !/examples\/app\/(node_modules|web\/dist)/.test(path),
  })
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const ours = ['clerk-session-sync', 'clerk-session-sync-client']
  add(...Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }).filter((name) => !ours.includes(name)))
  const client = join(folder, 'node_modules/clerk-session-sync-client')
  mkdirSync(client)
  for (const part of ['package.json', 'dist']) {
    cpSync(join(ROOT, 'packages/client', part), join(client, part), { recursive: true })
  }
  const node = (...args: string[]) => spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  const tsc = node('node_modules/typescript/lib/tsc.js')
  t.equal(tsc.status, 0, tsc.stdout)
  const built = node('node_modules/vite/bin/vite.js', 'build', 'web', '--logLevel', 'error')
  t.equal(built.status, 0, built.stderr)

  const missing = node('src/server.ts')
  t.match(missing.stderr, /DATABASE_URL is missing: npm run up/)

  const database = await createDatabase(t, { isEmpty: true })
  const port = await freePorts()
  const app = runBuilt(t, [join(folder, 'src/server.ts')], {
    DATABASE_URL: database.url,
    PORT: String(port),
    EMULATOR_PORT: String(port + 1),
  })
  await app.until(/Server listening/)

  const browser = await startBrowser(t)
  const page = await browser.newPage()
  const { errors } = watchPage(page)
  await page.goto(`http://127.0.0.1:${port}/`)
  await page.getByRole('button', { name: 'Sign in as Ada' }).click()
  await page.getByRole('heading', { name: 'Orders of Ada' }).waitFor()
  for (const item of ['Tea', 'Biscuits']) {
    await page.getByLabel('Item').fill(item)
    await page.getByRole('button', { name: 'Order' }).click()
    await page.getByText(item).waitFor()
  }
  t.strictSame(await page.getByRole('listitem').allInnerTexts(), ['Biscuits', 'Tea'])
  t.strictSame(errors, [])
  t.strictSame(
    await database.query(
      'select u.first_name, o.item from public.orders o join clerk.users u on u.id = o.user_id order by o.id',
    ),
    [
      { first_name: 'Ada', item: 'Tea' },
      { first_name: 'Ada', item: 'Biscuits' },
    ],
  )
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('button', { name: 'Sign in as Ada' }).waitFor()

  const refused = await fetch(`http://127.0.0.1:${port}/api/orders`)
  t.match([refused.status, await refused.json()], [401, { code: 'MISSING_TOKEN', requestId: /./ }])
  app.child.kill('SIGTERM')
  t.equal(await app.exit, 0)
})

test('the compose file and the scripts of the example agree with the test', async (t) => {
  const { services } = parse(readFileSync(join(ROOT, 'examples/app/compose.yml'), 'utf8'))
  const { environment, ports } = services.postgres
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'examples/app/package.json'), 'utf8'))
  const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB } = environment
  const [, address] = /^(127\.0\.0\.1:\d+):5432$/.exec(ports[0]) ?? []
  t.match(
    scripts.up,
    `DATABASE_URL=postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${address}/${POSTGRES_DB} npm start`,
  )
})

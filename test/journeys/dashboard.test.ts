/** An operator in front of the dashboard, in a real browser. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import tap, { type Test, test } from 'tap'
import { dashboardLink } from '../../src/dashboard-token.ts'
import { startBrowser, watchPage } from '../helpers/browser.ts'
import { type Service, startService } from '../helpers/service.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'

const TOKEN = 'a-token-of-the-operators'
const AXE = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8')

// Each page has a context of its own: no storage, no cache and no cookie is shared.
const browser = await startBrowser(tap)

/** Webhooks of every outcome: two users created, one stale event, one that no replay can fix, one that a replay fixes. */
async function fill({ clerk, call, database }: Service): Promise<void> {
  const ada = clerk.createUser({ email: 'ada@example.com', firstName: 'Ada', lastName: '<img src=x onerror=alert(1)>' })
  clerk.createUser({ email: 'grace@example.com' })
  await clerk.webhooks.idle()
  const now = Date.now()
  const deliver = (id: string, type: string, data: object) => {
    const body = JSON.stringify({ type, timestamp: now, data })
    const headers = { 'content-type': 'application/json', ...clerk.sign(body, { id }) }
    return call('/clerk', { method: 'POST', body, headers })
  }
  await deliver('msg_stale', 'user.updated', { id: ada.id, updated_at: 1 })
  await deliver('msg_unusable', 'user.updated', {})
  await database.query(`create function refuse() returns trigger as 'begin raise ''not today''; end' language plpgsql`)
  await database.query('create trigger refuse before insert on users for each row execute function refuse()')
  await deliver('msg_repairable', 'user.created', { id: 'user_late', updated_at: now })
  await database.query('drop trigger refuse on users')
  await call('/api/auth/profile')
  await call('/api/auth/profile', { token: clerk.sessionToken(clerk.signIn(ada.id).id) })
}

async function open(t: Test, url: string, options: Parameters<typeof browser.newPage>[0] = {}) {
  const page = await browser.newPage(options)
  t.teardown(() => page.close())
  const watched = watchPage(page)
  await page.goto(`${url}/dashboard`)
  return { page, ...watched }
}

async function logIn(page: Page, token = TOKEN): Promise<void> {
  await page.getByLabel('DASHBOARD_TOKEN of the service').fill(token)
  await page.keyboard.press('Enter')
}

/** How many pixels of a chart have been drawn on. */
const inked = (page: Page, id: string) =>
  page.locator(`#${id} canvas`).evaluate((canvas) => {
    const { width, height } = canvas as unknown as { width: number; height: number }
    // biome-ignore lint/suspicious/noExplicitAny: the tests know no DOM
    const { data } = (canvas as any).getContext('2d').getImageData(0, 0, width, height)
    return data.filter((_: number, i: number) => i % 4 === 3 && data[i] > 0).length
  })

/** What axe finds, of the kinds that keep people out. */
async function violations(page: Page): Promise<string[]> {
  // By the debugger, which no content security policy of the page stops.
  await page.evaluate(AXE)
  const { violations } = (await page.evaluate('axe.run()')) as {
    violations: { id: string; impact: string; nodes: { html: string }[] }[]
  }
  return violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}

test('an operator sees what real webhooks did, replays one, dismisses one and finds a user', {
  timeout: 120_000,
}, async (t) => {
  const service = await startService(t, { settings: { DASHBOARD_TOKEN: TOKEN } })
  await fill(service)
  const { page, errors, hosts } = await open(t, service.url)
  await logIn(page)

  await page.getByText('degraded').first().waitFor()
  const chart = (name: string) => page.getByRole('img', { name: new RegExp(`^${name}: `) })
  t.match(
    await chart('Webhooks by outcome').getAttribute('aria-label'),
    /applied [2-9], stale [1-9], ignored 0, failed 2$/,
  )
  t.match(await chart('Users').getAttribute('aria-label'), /rows 2, created 2, deleted 0$/)
  t.match(await chart('Event delay').getAttribute('aria-label'), /median [\d.]+ m?s, 95th percentile [\d.]+ m?s$/)
  t.match(await chart('Tokens by result').getAttribute('aria-label'), /OK 1, MISSING_TOKEN 1$/)
  for (const id of ['deliveries', 'delay', 'users', 'auth']) t.ok((await inked(page, id)) > 500, `${id} is drawn`)
  t.strictSame(await violations(page), [])

  const types = page.getByRole('row')
  t.match(await types.filter({ hasText: 'user.created' }).innerText(), /failed/)
  t.match(await types.filter({ hasText: 'session.revoked' }).innerText(), /none/)

  await page.getByRole('button', { name: 'Replay user.created msg_repairable' }).press('Enter')
  await page.getByText('msg_repairable: applied').waitFor()
  await page.getByRole('button', { name: 'Replay user.created msg_repairable' }).waitFor({ state: 'detached' })
  t.strictSame(await service.database.query(`select id from users where id = 'user_late'`), [{ id: 'user_late' }])
  await page.getByRole('button', { name: 'Replay user.updated msg_unusable' }).click()
  await page.getByText(/^msg_unusable: failed: ./).waitFor()
  await page.getByRole('button', { name: 'Dismiss user.updated msg_unusable' }).click()
  await page.getByRole('button', { name: 'Dismiss user.updated msg_unusable' }).waitFor({ state: 'detached' })
  t.strictSame(await service.database.query(`select outcome, payload from webhook_events where id = 'msg_unusable'`), [
    { outcome: 'discarded', payload: null },
  ])

  await page.getByLabel('User id, exact email address, or organization id').fill('ada@example.com')
  await page.keyboard.press('Enter')
  await page.getByText('Ada <img src=x onerror=alert(1)>').waitFor()
  await page.getByLabel('User id, exact email address, or organization id').fill('user_nobody')
  await page.getByRole('button', { name: 'Find' }).click()
  await page.getByText('Nothing was found for user_nobody.').waitFor()

  await page.getByLabel('Show').selectOption('24h')
  await page.waitForResponse(/range=24h/)
  t.strictSame(errors, [])
  t.strictSame([...hosts], [new URL(service.url).host])
})

test('a wrong token is refused, the right one is forgotten on demand', { timeout: 120_000 }, async (t) => {
  const service = await startService(t, { settings: { DASHBOARD_TOKEN: TOKEN } })
  const { page } = await open(t, service.url)
  t.strictSame(await violations(page), [])
  await logIn(page, 'not the token')
  await page.getByText('This token is wrong.').waitFor()
  t.notOk(await page.locator('#content').isVisible())
  await logIn(page)
  await page.getByRole('heading', { name: 'Health' }).waitFor()
  await page.reload()
  await page.getByRole('heading', { name: 'Health' }).waitFor()
  await page.getByRole('button', { name: 'Forget the token' }).click()
  await page.getByLabel('DASHBOARD_TOKEN of the service').waitFor()
  t.notOk(await page.locator('#content').isVisible())
  t.equal(await page.evaluate('sessionStorage.length'), 0)
})

test('the link with a token opens the page, and the token disappears from the address bar', {
  timeout: 120_000,
}, async (t) => {
  const service = await startService(t, { settings: { DASHBOARD_TOKEN: TOKEN } })
  const page = await browser.newPage()
  t.teardown(() => page.close())
  await page.goto(dashboardLink(service.url, TOKEN))
  await page.getByRole('heading', { name: 'Health' }).waitFor()
  t.equal(page.url(), `${service.url}/dashboard`)
  await page.reload()
  await page.getByRole('heading', { name: 'Health' }).waitFor()
})

test('the page says when it cannot reach the service or the database, and recovers', {
  timeout: 120_000,
}, async (t) => {
  const real = await startService(t)
  const proxy = await createTcpProxy(t, real.database.url)
  const settings = { DATABASE_URL: proxy.url, DASHBOARD_TOKEN: TOKEN }
  const service = await startService(t, { beside: real, settings })
  const { page } = await open(t, service.url)
  await logIn(page)
  await page.getByRole('heading', { name: 'Health' }).waitFor()
  await proxy.cut()
  await page.getByText(/The database cannot be reached/).waitFor()
  t.equal(await page.locator('#status').innerText(), 'down')
  const tile = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'Database' }) })
  t.match(await tile.innerText(), /down\s+unreachable/, 'health is of now, though the figures are not')
  await proxy.restore()
  await page.locator('#trouble').waitFor({ state: 'hidden' })
  await page.context().setOffline(true)
  await page.getByText(/The service cannot be reached\. The figures below are old\./).waitFor()
  t.equal(await page.locator('#status').innerText(), 'unreachable')
  await page.context().setOffline(false)
  await page.locator('#trouble').waitFor({ state: 'hidden' })
})

for (const colorScheme of ['light', 'dark'] as const) {
  test(`at the width of a phone, ${colorScheme}, nothing is cut off or out of reach`, {
    timeout: 120_000,
  }, async (t) => {
    const service = await startService(t, { settings: { DASHBOARD_TOKEN: TOKEN } })
    await fill(service)
    const { page, errors } = await open(t, service.url, { viewport: { width: 390, height: 844 }, colorScheme })
    await logIn(page)
    await page.getByRole('heading', { name: 'Health' }).waitFor()
    await page.getByLabel('User id, exact email address, or organization id').fill('ada@example.com')
    await page.keyboard.press('Enter')
    await page.getByText('Newest events').waitFor()
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), 390, 'it does not scroll sideways')
    t.strictSame(await violations(page), [])
    // By Tab alone one comes to every control, in the order of the page.
    await page.evaluate('document.activeElement.blur()')
    const stops = new Set<string>()
    const expected = ['range', 'replay-msg_repairable', 'replay-msg_unusable', 'query']
    for (let i = 0; i < 20; i += 1) {
      await page.keyboard.press('Tab')
      stops.add((await page.evaluate('document.activeElement.id')) as string)
    }
    for (const id of expected) t.ok(stops.has(id), id)
    // Arrows move along a chart, and say what is there.
    const chart = page.getByRole('img', { name: /^Webhooks by outcome/ })
    await chart.focus()
    await page.keyboard.press('ArrowLeft')
    t.match(await page.locator('#deliveries .legend').innerText(), /at \d\d:\d\d/)
    t.strictSame(errors, [])
  })
}

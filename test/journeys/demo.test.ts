import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { type Test, test } from 'tap'
import { startBrowser } from '../helpers/browser.ts'
import { freePorts, ROOT, runNode } from '../helpers/process.ts'

const ENDED = '#verdict:not([data-result="running"])'
const DEADLINE_MS = 60_000
/** What createSessionSync promises: a sync of at most 5 requests, and one call after it. */
const MOST_REQUESTS = 6

interface Row {
  lane: string
  what: string
  status: string
  outcome: string
}

/** `npm run dev` in a folder of its own. */
async function startDev(t: Test): Promise<{ url: string; clerkUrl: string }> {
  const cwd = mkdtempSync(join(tmpdir(), 'clerk-session-sync-demo-'))
  chmodSync(cwd, 0o711) // PostgreSQL runs as another user where the test is root.
  t.teardown(() => rmSync(cwd, { recursive: true, force: true }))
  const port = await freePorts()
  const dev = runNode(t, [join(ROOT, 'src/cli/index.ts'), 'dev'], { PORT: String(port), LOG_LEVEL: 'warn' }, { cwd })
  t.teardown(async () => {
    dev.child.kill('SIGINT')
    await dev.exit
  })
  const [, url] = await dev.until(/demo\s+(\S+)\/demo/)
  await dev.until(/Press Ctrl-C to stop everything/)
  return { url: url as string, clerkUrl: `http://127.0.0.1:${port + 1}` }
}

async function openDemo(t: Test, browser: Browser, url: string, width = 1280) {
  const page = await browser.newPage({ viewport: { width, height: 900 } })
  page.setDefaultTimeout(DEADLINE_MS)
  t.teardown(() => page.close())
  const seen = { origins: new Set<string>(), complaints: [] as string[], navigations: 0 }
  page.on('request', (request) => seen.origins.add(new URL(request.url()).origin))
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.complaints.push(message.text())
  })
  page.on('pageerror', (error) => seen.complaints.push(error.message))
  page.on('framenavigated', () => {
    seen.navigations += 1
  })
  await page.goto(`${url}/demo`)
  await page.waitForSelector('#story[data-ready]')
  return { page, seen }
}

async function play(page: Page, story: string, backend = 'service', who?: string) {
  if (who) await page.selectOption('#who', { label: who })
  await page.locator(`label:has([name="backend"][value="${backend}"])`).click()
  await page.locator(`label:has([name="wrong"][value="${story}"])`).click()
  await page.click('#go')
  return ending(page)
}

async function ending(page: Page) {
  await page.waitForSelector(`#story[aria-busy="false"]`)
  const text = async (selector: string) => (await page.textContent(selector)) ?? ''
  const rows: Row[] = await page.$$eval('#timeline li', (items) =>
    items.map((item) => {
      const read = (name: string) => item.querySelector(`.${name}`)?.textContent ?? ''
      const lane = item.getAttribute('data-lane') ?? ''
      return { lane, what: read('what'), status: read('status'), outcome: read('outcome') }
    }),
  )
  return {
    result: await page.getAttribute(ENDED, 'data-result'),
    sentence: await text('#verdict'),
    headline: await text('#headline'),
    requests: Number(await text('#requests')),
    refusals: Number(await text('#refusals')),
    rows,
  }
}

const inLane = (rows: Row[], lane: string) => rows.filter((row) => row.lane === lane)

test('the demo: every story ends signed in or signed out once, and only an old backend loops', async (t) => {
  const { url, clerkUrl } = await startDev(t)
  const browser = await startBrowser(t)
  const { page, seen } = await openDemo(t, browser, url)
  const refusals = () => seen.complaints.splice(0)

  await t.test('a lost webhook', async (t) => {
    const { result, headline, requests, refusals, rows } = await play(page, 'lose')
    t.equal(result, 'signed-in')
    t.match(headline, /^Hello, \w+/)
    t.equal(requests, 2)
    t.equal(refusals, 0)
    const webhooks = inLane(rows, 'webhook')
    t.ok(webhooks.length >= 2, 'the webhooks are shown')
    for (const { outcome } of webhooks) t.equal(outcome, 'lost')
    t.match(inLane(rows, 'service')[0], { what: 'POST /api/auth/sync-user', status: '201', outcome: 'clerk_api' })
    t.match(inLane(rows, 'database')[0], { what: 'read the row', outcome: 'no row' })
  })

  await t.test('webhooks that are delivered twice', async (t) => {
    const { result, refusals, rows } = await play(page, 'twice')
    t.equal(result, 'signed-in')
    t.equal(refusals, 0)
    const created = inLane(rows, 'webhook').filter(({ what }) => what === 'user.created')
    t.equal(created.length, 2)
    t.equal(created.filter(({ outcome }) => outcome === 'duplicate').length, 1, 'one of the two counted')
  })

  await t.test('everything at once', async (t) => {
    const { result, sentence, rows } = await play(page, 'race')
    t.equal(result, 'signed-in')
    t.match(sentence, /told user\.created once\./)
    t.equal(inLane(rows, 'feed').filter(({ what }) => what === 'user.created').length, 1)
  })

  await t.test('a good day', async (t) => {
    const { result, refusals } = await play(page, 'none')
    t.equal(result, 'signed-in')
    t.equal(refusals, 0)
  })

  await t.test('a webhook that is 10 s late', async (t) => {
    const { result, sentence, refusals, rows } = await play(page, 'delay')
    t.equal(result, 'signed-in')
    t.match(sentence, /ten seconds later/)
    t.equal(refusals, 0)
    const lanes = rows.map(({ lane }) => lane)
    t.ok(lanes.indexOf('webhook') > lanes.lastIndexOf('browser'), 'it came after everything that the browser did')
  })
  t.strictSame(refusals(), [], 'none of these stories makes the browser complain')

  await t.test('a database that stops for 5 s', async (t) => {
    const { result, requests, refusals, rows } = await play(page, 'database')
    t.equal(result, 'signed-in')
    t.equal(refusals, 0, 'trouble is never a 401')
    t.ok(requests <= MOST_REQUESTS, `${requests} requests`)
    t.match(inLane(rows, 'service')[0], { status: '503', outcome: 'DATABASE_UNAVAILABLE' })
    t.match(inLane(rows, 'webhook').at(-1), { status: '200' }, 'the webhooks were delivered in the end')
  })
  t.ok(refusals().every((text) => text.includes('status of 503')))

  for (const [story, code, status] of [
    ['revoke', 'SESSION_REVOKED', 401],
    ['delete', 'USER_DELETED', 403],
  ] as const) {
    await t.test(`${story}: signed out once, with the reason`, async (t) => {
      const { result, sentence, headline, requests, rows } = await play(page, story)
      t.equal(result, 'signed-out')
      t.equal(headline, 'You have been signed out')
      t.match(sentence, new RegExp(`signed out once: ${status} ${code}`))
      t.match(sentence, /of three calls sent 1\./)
      t.equal(requests, 3)
      t.match(inLane(rows, 'browser').at(-1), { status: String(status), outcome: code })
    })
    const complaints = refusals()
    t.equal(complaints.length, 1)
    t.match(complaints[0], new RegExp(`status of ${status}`))
  }

  await t.test('another account is chosen while a call waits: nothing goes out in its name', async (t) => {
    const { result, sentence, headline, rows } = await play(page, 'switch')
    t.equal(result, 'signed-in')
    t.match(sentence, /ended with SESSION_CHANGED: of its retries 0 went out in the name of \w+/)
    const browser = inLane(rows, 'browser')
    const chosen = browser.findIndex(({ what }) => what === 'another account is chosen')
    t.match(browser[chosen - 1], { what: 'POST /api/auth/sync-user', status: '503' })
    t.strictSame(
      browser.slice(chosen).filter(({ what }) => what.startsWith('POST')),
      [],
      'the call was not sent again',
    )
    t.match(headline, /^Hello, \w+/)
  })
  t.ok(refusals().every((text) => text.includes('status of 503')))

  await t.test('two tabs sign in at once, and both end with the session', async (t) => {
    const { result, sentence } = await play(page, 'tabs')
    t.equal(result, 'signed-out')
    await page.waitForSelector('#timeline li[data-lane="feed"]:has-text("user.created")')
    const { rows } = await ending(page)
    t.match(sentence, /each was refused \(SESSION_REVOKED, SESSION_REVOKED\), and each said so once: 2 times in all/)
    t.equal(inLane(rows, 'feed').filter(({ what }) => what === 'user.created').length, 1, 'with one row')
  })
  t.ok(refusals().every((text) => text.includes('status of 401')))

  await t.test('a member is removed while the page is open', async (t) => {
    const { result, sentence, rows } = await play(page, 'member')
    t.equal(result, 'signed-in')
    t.match(sentence, /Allowed with 200, and refused with 403 MEMBERSHIP_ENDED as soon as the webhook had arrived/)
    const webhooks = inLane(rows, 'webhook').map(({ what }) => what)
    t.ok(webhooks.indexOf('organizationMembership.created') < webhooks.indexOf('organizationMembership.deleted'))
  })
  t.ok(refusals().every((text) => text.includes('status of 403')))

  await t.test('a backend without the service loops, here six times, until the service is added', async (t) => {
    const { result, sentence, requests, refusals, rows } = await play(page, 'lose', 'old')
    t.equal(result, 'loop')
    t.match(sentence, /6 rounds, 6 times 401, and the token was valid every time/)
    t.strictSame([requests, refusals], [6, 6])
    t.equal(rows.filter(({ what }) => /already signed in/.test(what)).length, 6)
    t.ok(await page.isDisabled('[name="wrong"][value="revoke"]'), 'stories that it has no answer to cannot be chosen')
    await page.click('#compare')
    t.match(await ending(page), { result: 'signed-in', refusals: 0 })
  })
  t.ok(refusals().every((text) => text.includes('status of 401')))

  await t.test('a user whose webhook was lost before the page was opened', async (t) => {
    t.match(await play(page, 'lose', 'old', 'Ada Lovelace'), { result: 'loop' })
    refusals()
    t.match(await play(page, 'lose', 'service', 'Ada Lovelace'), { result: 'signed-in', refusals: 0 })
  })

  t.strictSame([...seen.origins].sort(), [url, clerkUrl].sort(), 'no other host is called')
  t.strictSame(seen.complaints, [])
  t.equal(seen.navigations, 1, 'the page never went anywhere')

  await t.test('on a phone, by keyboard', async (t) => {
    const { page } = await openDemo(t, browser, url, 390)
    await page.focus('[name="wrong"]:checked')
    await page.keyboard.press('ArrowLeft')
    t.equal(await page.inputValue('[name="wrong"]:checked'), 'none')
    await page.keyboard.press('Tab')
    t.equal(await page.evaluate('document.activeElement.id'), 'go')
    await page.keyboard.press('Enter')
    t.match(await ending(page), { result: 'signed-in' })
    t.equal(await page.evaluate('document.activeElement.id'), 'go', 'the focus stays')
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), 390, 'nothing sticks out')
  })
})

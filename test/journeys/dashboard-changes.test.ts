/** The change feed on the dashboard, in a real browser. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import tap, { test } from 'tap'
import { startBrowser, watchPage } from '../helpers/browser.ts'
import { PUSH_SECRET, startChangeReceiver } from '../helpers/change-receiver.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const AXE = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8')
const TOKEN = 'a-token-of-the-operators'
const browser = await startBrowser(tap)

test('an operator sees which consumers are behind, and which changes were given up', async (t) => {
  const receiver = await startChangeReceiver(t)
  receiver.answer = () => 500
  const { url, clerk, app } = await startService(t, {
    settings: {
      DASHBOARD_TOKEN: TOKEN,
      CHANGES: 'true',
      CHANGES_WEBHOOK_URL: receiver.url,
      CHANGES_WEBHOOK_SECRET: PUSH_SECRET,
    },
    change: ({ changes, ...rest }) => ({
      ...rest,
      changes: { ...changes, webhook: { ...changes?.webhook, scheduleMs: [] } as never },
    }),
  })
  const { id } = clerk.createUser()
  await waitUntil('a dead letter', async () => (await app.clerkChangesStatus()).consumers[0]?.dead === 1)
  const page = await browser.newPage()
  t.teardown(() => page.close())
  const { errors } = watchPage(page)
  await page.goto(`${url}/dashboard`)
  await page.getByLabel('DASHBOARD_TOKEN of the service').fill(TOKEN)
  await page.keyboard.press('Enter')
  const section = page.locator('#changes')
  await section.waitFor()
  t.equal(await section.locator('tbody tr').innerText(), 'webhook\tup to date\t0\t1')
  t.match(
    await section.locator('li').innerText(),
    new RegExp(`user\\.created of ${id}, for webhook[\\s\\S]*answered 500`),
  )
  t.match(await page.locator('#health').innerText(), /CHANGE FEED|Change feed/)
  await page.evaluate(AXE)
  // biome-ignore lint/suspicious/noExplicitAny: axe is of the page
  const { violations } = (await page.evaluate('axe.run()')) as any
  t.strictSame(
    violations.map(({ id }: { id: string }) => id),
    [],
  )
  t.strictSame(errors, [])
})

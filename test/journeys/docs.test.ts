/** A developer in front of the API reference, in a real browser. */
import { test } from 'tap'
import { startBrowser, watchPage } from '../helpers/browser.ts'
import { startService } from '../helpers/service.ts'

test('the API reference opens every operation, without an error and without asking another host', {
  timeout: 120_000,
}, async (t) => {
  const { url } = await startService(t, { settings: { NODE_ENV: 'production' } })
  const browser = await startBrowser(t)
  const page = await browser.newPage()
  const { errors, hosts } = watchPage(page)
  const reply = await page.goto(`${url}/docs`)
  const policy = (await reply?.headerValue('content-security-policy')) ?? ''
  t.match(policy, /script-src 'self' ;/)
  t.match(policy, /style-src 'self' 'sha256-[^']+' ;/)
  t.notMatch(policy, /unsafe/)
  const operation = page.locator('#operations-auth-post_api_auth_sync_user')
  await operation.getByRole('button').first().click()
  await operation.getByText('INVALID_TOKEN').first().waitFor()
  await page.getByRole('button', { name: 'Authorize' }).click()
  await page.getByText('DASHBOARD_TOKEN').first().waitFor()
  t.strictSame(errors, [])
  t.strictSame([...hosts], [new URL(url).host])
})

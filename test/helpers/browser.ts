import { type Browser, chromium, type Page } from 'playwright-core'
import type { Scope } from './own-postgres.ts'

const ARGS = [
  '--no-sandbox',
  '--disable-dev-shm-usage',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Debian's Chromium, closed at the end of the test, or of all tests of a file. */
export async function startBrowser(t: Scope): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: ARGS })
  t.teardown(() => browser.close())
  return browser
}

/** What a page complained of and whom it asked, from now on. */
export function watchPage(page: Page): { errors: string[]; hosts: Set<string> } {
  const errors: string[] = []
  const hosts = new Set<string>()
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) errors.push(message.text())
  })
  page.on('pageerror', (error) => errors.push(String(error)))
  page.on('request', (request) => {
    const { protocol, host } = new URL(request.url())
    if (protocol !== 'data:') hosts.add(host)
  })
  return { errors, hosts }
}

import { test } from 'tap'
import { startService } from '../helpers/service.ts'

test('the description names every route of the contract with its replies', async (t) => {
  const { call } = await startService(t)
  const { status, body } = await call('/docs/json')
  t.equal(status, 200)
  t.equal(body.openapi, '3.1.0')
  const routes: [string, string, string[]][] = [
    ['/api/auth/sync-user', 'post', ['200', '201', '401', '403', '429', '500', '503']],
    ['/api/auth/profile', 'get', ['200', '401', '403', '429', '500', '503']],
    ['/api/auth/verify', 'get', ['200', '401', '403', '429', '500', '503']],
    ['/api/auth/health', 'get', ['200', '500', '503']],
    ['/readyz', 'get', ['200', '500', '503']],
    ['/livez', 'get', ['200', '500']],
    ['/clerk', 'post', ['200', '400', '413', '415', '422', '500', '503']],
  ]
  for (const [path, method, codes] of routes) {
    t.strictSame(Object.keys(body.paths[path]?.[method]?.responses ?? {}).sort(), codes, `${method} ${path}`)
  }
  t.strictSame(Object.keys(body.components.securitySchemes), [
    'bearerToken',
    'sessionCookie',
    'svixSignature',
    'dashboardToken',
  ])
})

test('the page is served with a strict policy and asks no other host', async (t) => {
  const { call } = await startService(t)
  const { status, headers, body } = await call('/docs')
  t.equal(status, 200)
  t.match(headers.get('content-type'), /^text\/html/)
  t.match(headers.get('content-security-policy'), /default-src 'self'/)
  t.equal(headers.get('x-content-type-options'), 'nosniff')
  t.notMatch(body, /(src|href)="https?:/)
})

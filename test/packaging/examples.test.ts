import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { parse } from 'yaml'
import { describeIdentity } from '../../src/routes/verify-headers.ts'

const read = (path: string) => readFileSync(new URL(`../../examples/${path}`, import.meta.url), 'utf8')
const HEADERS = Object.keys(describeIdentity())

test('every example for a proxy names every header of the identity', async (t) => {
  for (const path of [
    'nginx/auth-request.conf',
    'caddy/Caddyfile',
    'haproxy/auth-request.lua',
    'traefik/dynamic.yml',
    'envoy/envoy.yaml',
  ]) {
    const text = read(path).toLowerCase()
    for (const header of HEADERS) t.match(text, new RegExp(`${header.toLowerCase()}(?![\\w-])`), `${path}: ${header}`)
  }
})

test('the examples that no test runs match the documentation of their proxies', async (t) => {
  const { forwardAuth } = parse(read('traefik/dynamic.yml')).http.middlewares.clerk
  t.strictSame(Object.keys(forwardAuth).sort(), ['address', 'authResponseHeaders', 'trustForwardHeader'])
  t.equal(forwardAuth.trustForwardHeader, false)
  t.strictSame(forwardAuth.authResponseHeaders, HEADERS)

  const [manager] = parse(read('envoy/envoy.yaml')).static_resources.listeners[0].filter_chains[0].filters
  const [authz] = manager.typed_config.http_filters
  const { failure_mode_allow, status_on_error, http_service } = authz.typed_config
  t.strictSame([failure_mode_allow, status_on_error], [false, { code: 'ServiceUnavailable' }])
  t.equal(http_service.path_prefix, '/api/auth/verify')
  const exact = ({ patterns }: { patterns: { exact: string }[] }) => patterns.map((pattern) => pattern.exact)
  t.strictSame(
    exact(http_service.authorization_response.allowed_upstream_headers),
    HEADERS.map((name) => name.toLowerCase()),
  )
  t.notOk(exact(http_service.authorization_request.allowed_headers).includes('x-forwarded-method'))
})

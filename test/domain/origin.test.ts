import { test } from 'tap'
import { createOriginCheck, isCrossSite, type RequestSource } from '../../src/domain/origin.ts'

const TRUSTED = new Set(['https://app.example.com', 'capacitor://localhost'])
const crossSite = (more: Partial<RequestSource>) =>
  isCrossSite({ method: 'POST', host: 'api.example.com', origin: undefined, fetchSite: undefined, ...more }, TRUSTED)

test('only requests that change something can come from the wrong site', async (t) => {
  for (const method of ['GET', 'HEAD', 'OPTIONS'])
    t.notOk(crossSite({ method, origin: 'https://evil.example' }), method)
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'get', 'GET, POST', '']) {
    t.ok(crossSite({ method, origin: 'https://evil.example' }), method)
  }
})

test("the service's own origin and those that are trusted are the right site", async (t) => {
  const own: [host: string, origin: string][] = [
    ['api.example.com', 'https://api.example.com'],
    ['api.example.com', 'http://api.example.com'],
    ['API.example.com:443', 'https://api.example.com'],
    ['api.example.com:8443', 'https://api.example.com:8443'],
    ['[::1]:3000', 'http://[::1]:3000'],
  ]
  for (const [host, origin] of own) t.notOk(crossSite({ host, origin }), origin)
  for (const origin of TRUSTED) t.notOk(crossSite({ origin }), origin)
  const others = [
    'https://example.com',
    'https://api.example.com:8443',
    'https://api.example.com.evil.example',
    'null',
    '',
    'capacitor://api.example.com',
    'HTTPS://app.example.com',
  ]
  for (const origin of others) t.ok(crossSite({ origin }), origin)
  t.ok(crossSite({ host: '', origin: 'https://' }))
})

test('without an origin, the browser itself may say where the request comes from', async (t) => {
  t.ok(crossSite({ fetchSite: 'cross-site' }))
  for (const fetchSite of [undefined, 'same-origin', 'same-site', 'none'])
    t.notOk(crossSite({ fetchSite }), `${fetchSite}`)
  t.notOk(
    crossSite({ origin: 'https://app.example.com', fetchSite: 'cross-site' }),
    'an origin that is trusted is no stranger',
  )
})

test('an origin is compared in the form of browsers; * is any', async (t) => {
  const isListed = createOriginCheck(['https://App.example.com/', 'not an origin'])
  t.ok(isListed('https://app.example.com'))
  t.notOk(isListed('https://evil.example'))
  t.notOk(isListed(undefined))
  t.ok(createOriginCheck(['*'])('https://any.example'))
  t.notOk(createOriginCheck(['*'])(undefined))
})

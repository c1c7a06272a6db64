import SwaggerParser from '@apidevtools/swagger-parser'
import { Validator } from '@seriousme/openapi-schema-validator'
import { test } from 'tap'
import * as errors from '../../src/errors.ts'
import { EVENT_TYPES } from '../../src/resources/index.ts'
import { PUSH_SECRET } from '../helpers/change-receiver.ts'
import { startService } from '../helpers/service.ts'

// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came
type Json = any
interface Example {
  value: { statusCode: number; code: string; message: string }
}

/** Every operation of the document, with its path and method. */
const operationsOf = ({ paths }: Json) =>
  Object.entries<Json>(paths).flatMap(([path, methods]) =>
    Object.entries<Json>(methods).map(([method, operation]) => ({ name: `${method} ${path}`, ...operation })),
  )

/** The examples of every error reply, each code once. */
function errorExamplesOf(document: Json): Example['value'][] {
  const { NotFound } = document.components.responses
  const replies = [{ responses: { 404: NotFound } }, ...operationsOf(document)].flatMap(({ responses }) =>
    Object.entries<Json>(responses).flatMap(([status, { content }]) =>
      Number(status) >= 400 ? Object.values<Example>(content['application/json'].examples ?? {}) : [],
    ),
  )
  return [...new Map(replies.map(({ value }) => [value.code, value])).values()]
}

// Everything that can be described.
const settings = {
  DASHBOARD_TOKEN: 'dashboard-token-of-a-test',
  CHANGES: 'true',
  CHANGES_TOKEN: 'token-of-the-change-feed',
  CHANGES_WEBHOOK_URL: 'http://127.0.0.1:9/changes',
  CHANGES_WEBHOOK_SECRET: PUSH_SECRET,
}

test('the description names every route of the contract with its replies', async (t) => {
  const { call } = await startService(t, { settings })
  const { status, body } = await call('/docs/json')
  t.equal(status, 200)
  t.equal(body.openapi, '3.1.0')
  const routes: [string, string, string[]][] = [
    ['/api/auth/sync-user', 'post', ['200', '201', '401', '403', '413', '429', '500', '503']],
    ['/api/auth/profile', 'get', ['200', '401', '403', '429', '500', '503']],
    ['/api/auth/verify', 'get', ['200', '400', '401', '403', '429', '500', '503']],
    ['/api/auth/verify/{*}', 'get', ['200', '401', '403', '429', '500', '503']],
    ['/api/auth/health', 'get', ['200', '500', '503']],
    ['/readyz', 'get', ['200', '500', '503']],
    ['/api/changes', 'get', ['200', '400', '401', '410', '500', '503']],
    ['/livez', 'get', ['200', '500']],
    ['/metrics', 'get', ['200', '500']],
    ['/clerk', 'post', ['200', '400', '413', '415', '422', '500', '503']],
  ]
  for (const [path, method, codes] of routes) {
    t.strictSame(Object.keys(body.paths[path]?.[method]?.responses ?? {}).sort(), codes, `${method} ${path}`)
  }
  t.strictSame(Object.keys(body.components.securitySchemes), [
    'bearerToken',
    'sessionCookie',
    'svixSignature',
    'changesToken',
    'dashboardToken',
  ])
})

test('the document is valid OpenAPI 3.1, and describes everything', async (t) => {
  const { call } = await startService(t, { settings })
  const { body } = await call('/docs/json')
  const validator = new Validator()
  const { valid, errors: faults } = await validator.validate(structuredClone(body))
  t.equal(validator.version, '3.1')
  t.ok(valid, JSON.stringify(faults))
  const schemes = Object.keys(body.components.securitySchemes)
  const tags = body.tags.map(({ name }: Json) => name)
  for (const { name, summary, security = [], responses, tags: own } of operationsOf(body)) {
    t.ok(summary, name)
    t.ok(own.length === 1 && tags.includes(own[0]), `${name} has a tag that is explained`)
    for (const requirement of security) t.ok(schemes.includes(Object.keys(requirement)[0] as string), name)
    for (const [status, { description, headers, content = {} }] of Object.entries<Json>(responses)) {
      t.not(description, 'Default Response', `${name} says when it answers ${status}`)
      if (status === '401') t.ok(headers['WWW-Authenticate'], name)
      if (status === '503') t.ok(headers['Retry-After'], name)
      for (const { example, examples, schema } of Object.values<Json>(content)) {
        t.ok(example ?? examples ?? schema.examples, `${name} has an example of ${status}`)
      }
    }
  }
})

test('every route that needs a credential documents which', async (t) => {
  const { call } = await startService(t, { settings })
  const { paths } = (await call('/docs/json')).body
  const token = [{ bearerToken: [] }, { sessionCookie: [] }]
  t.strictSame(paths['/api/auth/profile'].get.security, token)
  t.strictSame(paths['/api/auth/sync-user'].post.security, token)
  for (const path of ['/api/auth/verify', '/api/auth/verify/{*}']) t.strictSame(paths[path].put.security, token)
  t.strictSame(paths['/clerk'].post.security, [{ svixSignature: [] }])
  t.strictSame(paths['/dashboard/api/overview'].get.security, [{ dashboardToken: [] }])
  t.equal(paths['/livez'].get.security, undefined)
})

test('the most common OpenAPI parser accepts the document', async (t) => {
  const { call } = await startService(t, { settings })
  const { body } = await call('/docs/json')
  t.match(await SwaggerParser.validate(body), { info: { license: { identifier: 'MIT' } } })
})

test('every registered route is in the document, except the pages of the document', async (t) => {
  const registered = new Set<string>()
  const { call } = await startService(t, {
    settings,
    onApp: (app) =>
      app.addHook('onRoute', ({ method, url, schema }) => {
        if (url.startsWith('/docs')) return
        const path = url.replace('*', '{*}').replace(/:(\w+)/, '{$1}')
        // HEAD comes with every GET.
        for (const one of [method].flat()) if (!schema?.hide && one !== 'HEAD') registered.add(`${one} ${path}`)
        // The files of the page, methods that OpenAPI does not know, and an address that is the same as another.
        if (schema?.hide)
          t.match(url, /^\/api\/auth\/verify|^\/dashboard(?!\/api\/)|^\/clerk\/$/, `${url} may be hidden`)
      }),
  })
  const { body } = await call('/docs/json')
  const described = operationsOf(body)
    .map(({ name }) => name.replace(/^\w+/, (method: string) => method.toUpperCase()))
    .filter((name) => !name.startsWith('HEAD '))
  t.ok(registered.size >= 20)
  t.strictSame(described.toSorted(), [...registered].toSorted())
})

test('every error has an example, as it is answered', async (t) => {
  const { call, clerk } = await startService(t, { settings })
  const examples = errorExamplesOf((await call('/docs/json')).body)
  const codes = examples.map(({ statusCode, code }) => `${statusCode} ${code}`)
  const own = Object.values(errors).flatMap((value) => {
    if (typeof value !== 'function' || !('prototype' in value) || !(value.prototype instanceof Error)) return []
    const { statusCode, code } = new (value as new () => Error & { statusCode: number; code: string })()
    return [`${statusCode} ${code}`]
  })
  const others = ['413 FST_ERR_CTP_BODY_TOO_LARGE', '415 FST_ERR_CTP_INVALID_MEDIA_TYPE', '500 INTERNAL_SERVER_ERROR']
  t.strictSame(codes.toSorted(), [...own, ...others].toSorted())
  for (const { message } of examples) t.notMatch(message, /%s|undefined|^$/)

  const headers = { 'content-type': 'application/json' }
  const signed = (body: string) => ({ method: 'POST', body, headers: { ...headers, ...clerk.sign(body) } })
  const answers = [
    await call('/api/auth/profile'),
    await call('/nowhere'),
    await call('/clerk', { method: 'POST', body: '{}', headers }),
    await call('/clerk', { ...signed('{}'), body: '{ }' }),
    await call('/clerk', signed('nothing')),
    await call('/clerk', signed(`"${'x'.repeat(1_048_576)}"`)),
    await call('/clerk', { method: 'POST', body: '<a/>', headers: { 'content-type': 'text/xml' } }),
  ]
  t.equal(new Set(answers.map(({ body }) => body.code)).size, answers.length)
  for (const { body } of answers) {
    const { requestId, ...answered } = body
    t.match(
      examples.find(({ code }) => code === body.code),
      answered,
    )
  }
})

test("Clerk's webhooks are described, with examples that the service accepts", async (t) => {
  const { call, clerk } = await startService(t)
  const { webhooks } = (await call('/docs/json')).body
  t.strictSame(Object.keys(webhooks), EVENT_TYPES)
  for (const [type, { post }] of Object.entries<Json>(webhooks)) {
    const { schema, example } = post.requestBody.content['application/json']
    t.equal(schema.properties.type.const, type)
    const body = JSON.stringify(example)
    const headers = { 'content-type': 'application/json', ...clerk.sign(body) }
    const reply = await call('/clerk', { method: 'POST', body, headers })
    t.equal(reply.status, 200, type)
    t.not(reply.body.outcome, 'ignored', type)
    for (const { name } of post.parameters) t.ok(name in headers, name)
  }
})

test('without webhooks none are described', async (t) => {
  const { call } = await startService(t, { change: (options) => ({ ...options, webhooks: undefined }) })
  const { body } = await call('/docs/json')
  t.notOk('webhooks' in body)
  t.notOk('/clerk' in body.paths)
})

test('the page has a strict policy and loads nothing from other hosts', async (t) => {
  const { call } = await startService(t, { settings })
  const { status, headers, body } = await call('/docs')
  t.equal(status, 200)
  t.match(headers.get('content-type'), /^text\/html/)
  t.match(headers.get('content-security-policy'), /default-src 'self'/)
  t.equal(headers.get('x-content-type-options'), 'nosniff')
  t.notMatch(body, /(src|href)="https?:/)
})

test('the webhooks of the change feed are described, with a valid example', async (t) => {
  const { call } = await startService(t, { settings })
  const { webhooks } = (await call('/docs/json')).body
  const { requestBody, parameters } = webhooks.change.post
  const { schema, example } = requestBody.content['application/json']
  t.strictSame(Object.keys(example), schema.required)
  t.strictSame(Object.keys(example.data), schema.properties.data.required)
  t.ok(schema.properties.type.enum.includes(example.type))
  t.strictSame(
    parameters.map(({ name }: Json) => name),
    ['webhook-id', 'webhook-timestamp', 'webhook-signature'],
  )
})

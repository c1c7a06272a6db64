import { test } from 'tap'
import { readSwaggerFiles } from '../../src/plugins/swagger-files.ts'

test('the document is rendered at the first request, once, and shared as one buffer', async (t) => {
  const calls: unknown[] = []
  const describe = (options?: { yaml: true }) => {
    calls.push(options)
    return options ? 'openapi: 3' : { openapi: '3' }
  }
  const files = readSwaggerFiles(describe as Parameters<typeof readSwaggerFiles>[0])
  t.strictSame(calls, [], 'routes may still be registered')
  const json = files.get('/docs/json')
  t.equal(String(json?.content), '{"openapi":"3"}')
  t.equal(json?.content, json?.content, 'the same bytes for all')
  t.equal(String(files.get('/docs/yaml')?.content), 'openapi: 3')
  t.strictSame(calls, [undefined, { yaml: true }])
})

test('the files of swagger-ui are there with their types, and its redirect is not', async (t) => {
  const files = readSwaggerFiles(() => ({}) as never)
  t.match(files.get('/docs/static/swagger-ui.css'), { type: 'text/css; charset=utf-8' })
  t.match(files.get('/docs/static/swagger-ui-bundle.js'), { type: 'text/javascript; charset=utf-8' })
  t.equal(files.get('/docs/static/index.html'), undefined)
  t.notOk(
    [...files.keys()].some((path) => path.endsWith('.map')),
    'only types that a browser shows',
  )
})

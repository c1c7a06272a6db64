import Fastify from 'fastify'
import { test } from 'tap'
import ignoreBody from '../../src/routes/ignore-body.ts'

test('a body of any type is left unread, unless its declared length exceeds the limit', async (t) => {
  const app = Fastify({ bodyLimit: 10 })
  t.teardown(() => app.close())
  await app.register(ignoreBody)
  app.post('/', async ({ body }) => ({ hasBody: body != null }))
  const post = (payload: string) =>
    app.inject({ method: 'POST', url: '/', payload, headers: { 'content-type': 'application/json' } })
  const fits = await post('{ not JSON')
  t.strictSame([fits.statusCode, fits.json()], [200, { hasBody: false }])
  const large = await post('{ not JSON!')
  t.strictSame([large.statusCode, large.json().code], [413, 'FST_ERR_CTP_BODY_TOO_LARGE'])
})

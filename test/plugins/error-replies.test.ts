import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import Fastify from 'fastify'
import { test } from 'tap'
import errorReplies from '../../src/plugins/error-replies.ts'
import { keptLogger } from '../helpers/run-log.ts'
import { startService } from '../helpers/service.ts'

function failingApp(showsDetails?: boolean) {
  const app = Fastify(keptLogger())
  app.register(errorReplies, showsDetails === undefined ? {} : { showsDetails })
  app.register(async (routes) => {
    routes.get('/bug', async () => {
      throw new Error('secret detail')
    })
    routes.get('/odd', async () => {
      throw Object.assign(new Error('odd'), { statusCode: 299 })
    })
    routes.get('/teapot', async () => {
      throw Object.assign(new Error('short and stout'), { statusCode: 418 })
    })
    routes.get('/unheard', async () => {
      throw Object.assign(new Error('unheard of'), { statusCode: 499 })
    })
    routes.get(
      '/query',
      { schema: { querystring: { type: 'object', required: ['a'], properties: { a: {} } } } },
      async () => '',
    )
  })
  return app
}

test('in production a 5xx does not contain its cause', async (t) => {
  const app = failingApp()
  for (const url of ['/bug', '/odd']) {
    const reply = await app.inject(url)
    t.equal(reply.statusCode, 500)
    t.strictSame(Object.keys(reply.json()).sort(), ['code', 'error', 'message', 'requestId', 'statusCode'])
    t.match(reply.json(), {
      code: 'INTERNAL_SERVER_ERROR',
      error: 'Internal Server Error',
      message: 'Something went wrong on our side',
    })
  }
  t.match((await app.inject('/teapot')).json(), {
    statusCode: 418,
    code: 'ERROR',
    error: "I'm a Teapot",
    message: 'short and stout',
  })
  t.match((await app.inject('/unheard')).json(), { statusCode: 499, error: 'Error' })
})

test('in development an error contains its cause', async (t) => {
  const app = failingApp(true)
  t.match((await app.inject('/bug')).json(), {
    statusCode: 500,
    message: 'secret detail',
    stack: /secret detail\n\s+at/,
  })
  t.match((await app.inject('/query')).json(), {
    statusCode: 400,
    code: 'FST_ERR_VALIDATION',
    details: [{ keyword: 'required' }],
  })
  for (const path of ['/query', '/teapot']) t.notOk('stack' in (await app.inject(path)).json(), 'a refusal is expected')
})

test('an unknown path is a 404 in the same shape', async (t) => {
  const { call } = await startService(t)
  t.match(await call('/nowhere?secret=1'), {
    status: 404,
    body: {
      statusCode: 404,
      code: 'NOT_FOUND',
      error: 'Not Found',
      message: 'No such route: GET /nowhere',
      requestId: String,
    },
  })
  t.match(await call('/api/auth/profile', { method: 'POST' }), { status: 404 })
})

test('a path that cannot be read is answered in the same shape', async (t) => {
  const { url } = await startService(t)
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.end('GET /%E0%A4 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  t.match(await text(socket), /^HTTP\/1\.1 400 [\s\S]*"code":"FST_ERR_BAD_URL"[\s\S]*"requestId":/)
})

test('bytes that are not HTTP are answered in the same shape', async (t) => {
  const { url } = await startService(t)
  const cases: [string, string, number][] = [
    ['GET / HTTP/1.1\r\nhost: x\r\nauthorization: a\0b\r\n\r\n', 'BAD_REQUEST', 400],
    ['NONSENSE\r\n\r\n', 'BAD_REQUEST', 400],
    [`GET / HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(70_000)}\r\n\r\n`, 'REQUEST_HEADER_FIELDS_TOO_LARGE', 431],
  ]
  for (const [bytes, code, statusCode] of cases) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write(bytes)
    const reply = await text(socket)
    t.match(reply, new RegExp(`^HTTP/1\\.1 ${statusCode} `))
    t.match(JSON.parse(reply.split('\r\n\r\n')[1] as string), { statusCode, code, requestId: String, message: String })
  }
})

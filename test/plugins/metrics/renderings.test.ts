import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import { test } from 'tap'
import { shareRenderings } from '../../../src/plugins/metrics/renderings.ts'

const reply = () => new EventEmitter() as ServerResponse

/** Renderings that are held until `finish`. */
function createRenderings() {
  const underway: ((error?: Error) => void)[] = []
  let count = 0
  const render = () =>
    new Promise<Buffer>((resolve, reject) => {
      count += 1
      const content = Buffer.from(String(count))
      underway.push((error) => (error ? reject(error) : resolve(content)))
    })
  return { render, finish: (error?: Error) => underway.shift()?.(error), count: () => count }
}

test('requests during a rendering share it; later requests get a new one', async (t) => {
  const { render, finish, count } = createRenderings()
  const share = shareRenderings(render)
  const replies = [share(reply()), share(reply()), share(reply())]
  finish()
  const [first, ...others] = await Promise.all(replies)
  t.ok(others.every((other) => other === first))
  t.equal(count(), 1)
  const later = share(reply())
  finish()
  t.equal(String(await later), '2')
})

test('a failed rendering rejects its callers, and the next call renders again', async (t) => {
  const { render, finish } = createRenderings()
  const share = shareRenderings(render)
  const replies = [share(reply()), share(reply())]
  finish(new Error('no figures'))
  for (const failed of replies) await t.rejects(failed, { message: 'no figures' })
  const next = share(reply())
  finish()
  t.equal(String(await next), '2')
})

test('while many replies wait to be read, a rendering is reused', async (t) => {
  const { render, finish, count } = createRenderings()
  const share = shareRenderings(render)
  const first = share(reply())
  finish()
  await first
  const responses = Array.from({ length: 16 }, reply)
  const unread = responses.map(share)
  finish()
  await Promise.all(unread)
  t.equal(count(), 2)
  t.equal(String(await share(reply())), '2', 'the last one serves whoever asks next')
  t.equal(count(), 2)
})

test('replies that were read no longer count as waiting', async (t) => {
  const { render, finish, count } = createRenderings()
  const share = shareRenderings(render)
  const responses = Array.from({ length: 40 }, reply)
  const replies = responses.map(share)
  finish()
  await Promise.all(replies)
  for (const response of responses) response.emit('close')
  const next = share(reply())
  finish()
  t.equal(String(await next), '2')
  t.equal(count(), 2)
})

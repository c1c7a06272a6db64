/** The Backend API of the bench, on a thread of its own: the current user by id, after a delay, at about 30 µs of CPU a request. */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'
import { apiLastNameOf, emailOf, numberOfUserId } from './bench-user.ts'

export interface ApiOrder {
  jwks: string
  /** The `updated_at` of every user, in ms. */
  versionMs: number
  /** One server for each. */
  delaysMs: number[]
}

const { jwks, versionMs, delaysMs } = workerData as ApiOrder
const fixture = new URL('../test/fixtures/user.created.json', import.meta.url)
const { instance_id: instanceId, data: user } = JSON.parse(readFileSync(fixture, 'utf8'))
const [, address] = user.email_addresses
const instance = JSON.stringify({
  object: 'instance',
  id: instanceId,
  environment_type: 'production',
  allowed_origins: null,
})

function answer(path: string): string | undefined {
  if (path === '/v1/jwks') return jwks
  if (path === '/v1/instance') return instance
  const id = path.startsWith('/v1/users/') ? path.slice('/v1/users/'.length) : ''
  const number = numberOfUserId(id)
  if (number === undefined) return undefined
  return JSON.stringify({
    ...user,
    id,
    last_name: apiLastNameOf(number),
    updated_at: versionMs,
    email_addresses: [user.email_addresses[0], { ...address, email_address: emailOf(number) }],
  })
}

function reply(path: string, response: ServerResponse): void {
  const found = answer(path)
  const body = found ?? '{"errors":[{"code":"resource_not_found","message":"not found"}]}'
  response
    .writeHead(found === undefined ? 404 : 200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    })
    .end(body)
}

const ports = delaysMs.map(async (delayMs) => {
  const server = createServer(({ url = '' }: IncomingMessage, response) => {
    if (delayMs === 0) reply(url, response)
    else setTimeout(reply, delayMs, url, response)
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return (server.address() as { port: number }).port
})
parentPort?.postMessage(await Promise.all(ports))

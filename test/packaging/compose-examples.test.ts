import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { ROOT, read } from './markdown.ts'

interface Service {
  image: string
  build?: { context: string; target: string }
  environment?: Record<string, string>
  ports?: string[]
  healthcheck?: object
  logging?: { options: object }
  read_only?: boolean
  cap_drop?: string[]
  security_opt?: string[]
}
const load = (file: string): { services: Record<string, Service> } =>
  parse(read(`examples/compose/${file}`), {
    merge: true,
    customTags: [{ tag: '!reset', collection: 'seq', resolve: () => [] }],
  })
const main = parse(read('docker-compose.yml'), { merge: true }) as { services: Record<string, Service> }

test('compose/try.yml: two confined containers, published on loopback only', async (t) => {
  const { services } = load('try.yml')
  t.strictSame(Object.keys(services), ['postgres', 'service'])
  t.equal(services.postgres?.image, main.services.postgres?.image)
  t.strictSame(services.service?.build, { context: '../..', target: 'try' })
  t.strictSame(services.service?.ports, ['127.0.0.1:3000:3000', '127.0.0.1:3001:3001'])
  t.equal(services.postgres?.ports, undefined)
  t.equal(services.service?.environment?.NODE_ENV, 'development', 'the emulator never runs in production')
  for (const [name, service] of Object.entries(services)) {
    t.ok(service.healthcheck, name)
    t.equal(service.read_only, true, name)
    t.strictSame(service.cap_drop, ['ALL'], name)
    t.strictSame(service.security_opt, ['no-new-privileges:true'], name)
  }
})

test('compose/production.yml: only Caddy is published, and every container is confined and rotates its log', async (t) => {
  const { services } = load('production.yml')
  const { service, ...others } = services
  t.strictSame(service, { ports: [], environment: { TRUST_PROXY: '1' } })
  t.strictSame(
    Object.entries(others).flatMap(([name, { ports }]) => (ports ? [name] : [])),
    ['caddy'],
  )
  for (const [name, other] of Object.entries(others)) {
    t.match(other.image, /:v?\d+\.\d+\.\d+$/, `${name} is pinned`)
    t.strictSame(other.logging, main.services.service?.logging, name)
    t.equal(other.read_only, true, name)
    t.strictSame(other.cap_drop, ['ALL'], name)
    t.strictSame(other.security_opt, ['no-new-privileges:true'], name)
  }
})

test('Caddy accepts the production Caddyfile, which has every header of verify', async (t) => {
  const file = join(ROOT, 'examples/compose/Caddyfile')
  const env = { PATH: process.env.PATH, HOME: t.testdir(), DOMAIN: 'app.example.com' }
  const { status, stdout, stderr } = spawnSync('caddy', ['adapt', '--adapter', 'caddyfile', '--config', file], {
    env,
    encoding: 'utf8',
  })
  t.equal(status, 0, stderr)
  t.match(stdout, '"app.example.com"')
  t.match(stdout, '"uri":"/api/auth/verify?"')
  const headersOf = (caddyfile: string) => /copy_headers (.*)/.exec(read(caddyfile))?.[1]
  t.equal(headersOf('examples/compose/Caddyfile'), headersOf('examples/caddy/Caddyfile'))
})

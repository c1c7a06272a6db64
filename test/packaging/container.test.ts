import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { startService } from '../helpers/service.ts'
import { ROOT, read, settingNames } from './markdown.ts'

interface Instruction {
  name: string
  rest: string
}

/** The stages of the Dockerfile, each from its FROM on. */
function readStages(): Instruction[][] {
  const stages: Instruction[][] = []
  const lines = read('Dockerfile')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
  for (const line of lines) {
    const [, name, rest] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? []
    if (name === 'FROM') stages.push([])
    if (name && rest) stages.at(-1)?.push({ name, rest })
  }
  return stages
}

const stages = readStages()
const final = stages.at(-1) ?? []
const restOf = (stage: Instruction[], name: string) => stage.filter((one) => one.name === name).map(({ rest }) => rest)
const stageNamed = (name: string) => stages.find((stage) => restOf(stage, 'FROM')[0]?.endsWith(` AS ${name}`)) ?? []
const manifest = JSON.parse(read('package.json'))

interface ComposeService {
  image: string
  user?: string
  environment: Record<string, string>
  env_file?: string
  ports?: string[]
  volumes?: string[]
  tmpfs: string[]
  depends_on?: Record<string, { condition: string }>
  healthcheck?: { test: string[] }
  logging?: { driver: string; options: Record<string, string> }
  restart: string
  stop_grace_period: string
  read_only: boolean
  cap_drop: string[]
  security_opt: string[]
  deploy: { resources: { limits: { cpus: string; memory: string } } }
}
const composeText = read('docker-compose.yml')
const compose = parse(composeText, { merge: true }) as {
  services: Record<'postgres' | 'service', ComposeService>
  volumes: object
}

test('the image is pinned to the Node.js version that the tests run on', async (t) => {
  t.equal(stages.length, 4)
  const { version } = JSON.parse(read('tools/node/package-lock.json')).packages['node_modules/node']
  for (const stage of stages) {
    const [image] = (restOf(stage, 'FROM')[0] ?? '').split(' ')
    t.equal(image, stage === stageNamed('try') ? 'build' : `node:${version}-bookworm-slim`)
  }
})

test('the image holds what the build makes, and production dependencies', async (t) => {
  const build = stageNamed('build')
  t.ok(restOf(build, 'RUN').includes('npm ci'))
  t.equal(
    restOf(build, 'RUN').at(-1),
    String.raw`npm run build && find dist -type f -regextype posix-extended -regex '.*\.(map|d\.ts)' -delete`,
  )
  const [install = '', ...others] = restOf(stageNamed('dependencies'), 'RUN')
  t.match(install, /^npm ci --omit=dev --omit=peer --workspaces=false && rm -rf node_modules\/@types && find /)
  const [, pattern = ''] =
    /find node_modules -type f -regextype posix-extended -regex '(.*)' -delete$/.exec(install) ?? []
  const removed = ['a.js', 'a.js.map', 'a.d.ts', 'a.d.cts', 'map.js', 'ad.ts'].filter((name) =>
    new RegExp(`^${pattern}$`).test(`x/${name}`),
  )
  t.strictSame(removed, ['a.js.map', 'a.d.ts', 'a.d.cts'], 'what nothing reads at run time')
  t.strictSame(others, [])
  const copies = restOf(final, 'COPY')
  t.ok(copies.includes('--from=dependencies /app/node_modules ./node_modules'))
  t.ok(copies.includes('--from=build /app/dist ./dist'))
  // Read at run time, from beside dist/.
  t.ok(copies.some((copy) => copy.split(' ').includes('package.json')))
  t.ok(copies.includes('migrations ./migrations'))

  const command = JSON.parse(restOf(final, 'CMD')[0] ?? '') as string[]
  const [program, ...flags] = command
  const entry = flags.pop() as string
  t.strictSame([program, entry], ['node', 'dist/server.js'], 'no shell, so that SIGTERM arrives')
  t.equal(spawnSync(process.execPath, [...flags, '-e', '']).status, 0, 'Node.js knows the flags')
  t.equal(manifest.scripts.start, command.join(' '))
  t.match(manifest.scripts.build, /tsc -p tsconfig\.build\.json$/)
  const { compilerOptions } = JSON.parse(read('tsconfig.build.json'))
  const source = entry.replace(compilerOptions.outDir, compilerOptions.rootDir).replace(/\.js$/, '.ts')
  t.ok(existsSync(join(ROOT, source)), `${entry} is made from ${source}`)
  t.ok(existsSync(join(ROOT, 'migrations/meta/_journal.json')))
})

test('every file that the Dockerfile copies exists, and .dockerignore lets it through', async (t) => {
  const allowed = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1))
  const copied = stages
    .flatMap((stage) => restOf(stage, 'COPY'))
    .filter((copy) => !copy.startsWith('--from='))
    .flatMap((copy) => copy.split(' ').slice(0, -1))
  t.match(read('.dockerignore'), /^\*$/m, 'all else stays out, .env first of all')
  t.strictSame([...new Set(copied)].toSorted(), allowed.toSorted())
  for (const path of copied) t.ok(existsSync(join(ROOT, path)), path)
})

test('the container runs as an unprivileged user, in production, and ends by SIGTERM', async (t) => {
  const [, uid, gid] = /^(\d+):(\d+)$/.exec(restOf(final, 'USER')[0] ?? '') ?? []
  t.ok(Number(uid) > 0 && Number(gid) > 0, 'a number, and not root')
  t.match(restOf(final, 'ENV'), [/^NODE_ENV=production /])
  t.strictSame(restOf(final, 'STOPSIGNAL'), ['SIGTERM'])
  t.strictSame(restOf(final, 'EXPOSE'), ['3000'])
  t.equal(final.findIndex(({ name }) => name === 'USER') > final.findLastIndex(({ name }) => name === 'COPY'), true)
  const [labels = ''] = restOf(final, 'LABEL')
  t.match(labels, `org.opencontainers.image.title="${manifest.name}"`)
  t.match(labels, `org.opencontainers.image.licenses="${manifest.license}"`)
  t.match(labels, /org\.opencontainers\.image\.description="./)
})

test('the health check tells a healthy service from one that is down or gone', async (t) => {
  const [, command = ''] = /CMD (\[.*\])$/.exec(restOf(final, 'HEALTHCHECK')[0] ?? '') ?? []
  const [node, ...args] = JSON.parse(command) as string[]
  t.equal(node, 'node')
  const check = async (url: string) => {
    const { port } = new URL(url)
    const child = spawn(process.execPath, args, { env: { PATH: process.env.PATH, PORT: port }, stdio: 'ignore' })
    const [code] = await once(child, 'exit')
    return code
  }
  const { url } = await startService(t)
  t.equal(await check(url), 0)

  const down = createServer((_request, response) => response.writeHead(503).end('{}')).listen(0, '127.0.0.1')
  await once(down, 'listening')
  const downUrl = `http://127.0.0.1:${(down.address() as AddressInfo).port}`
  t.equal(await check(downUrl), 1)
  down.close()
  await once(down, 'close')
  t.equal(await check(downUrl), 1)
})

test('compose: every variable is known, and no password is in the file', async (t) => {
  const known = [...read('.env.example').matchAll(/^([A-Z_]+)=/gm)].map(([, name]) => name)
  const used = [...composeText.matchAll(/\$\{([A-Z_]+)/g)]
  t.ok(used.length >= 3)
  for (const [, name] of used) {
    t.ok(known.includes(name), `${name} is in .env.example`)
  }
  const { service, postgres } = compose.services
  t.equal(service.env_file, '.env')
  for (const name of Object.keys(service.environment)) t.ok(settingNames().includes(name), `${name} is a setting`)
  t.equal(service.environment.NODE_ENV, 'production')
  // A file takes its place with examples/compose/secrets.yml; one of both must be set.
  t.match(postgres.environment.POSTGRES_PASSWORD, /^\$\{POSTGRES_PASSWORD:\?[^}]+\}$/)
  const { POSTGRES_USER: user, POSTGRES_DB: database } = postgres.environment
  t.match(service.environment.DATABASE_URL, new RegExp(`^postgres://${user}:.*@postgres:5432/${database}$`))
  const [port = ''] = service.ports ?? []
  t.ok(port.startsWith('127.0.0.1:') && port.endsWith(`:${service.environment.PORT}`), 'published on loopback')
})

test('compose: the service waits for a database that answers, and the data stay', async (t) => {
  const { service, postgres } = compose.services
  t.strictSame(service.depends_on, { postgres: { condition: 'service_healthy' } })
  t.match(postgres.image, /^postgres:18\.\d+-bookworm$/)
  t.match(postgres.healthcheck?.test.join(' '), /^CMD pg_isready .*--host=127\.0\.0\.1/)
  t.match(postgres.healthcheck?.test.join(' '), `--username=${postgres.environment.POSTGRES_USER}`)
  const [volume = '', path] = (postgres.volumes?.[0] ?? '').split(':')
  t.ok(volume in compose.volumes, 'a named volume')
  t.equal(path, '/var/lib/postgresql', 'where the image of version 18 keeps its data')
})

test('compose: both containers are confined, limited and restarted', async (t) => {
  for (const [name, container] of Object.entries(compose.services)) {
    t.equal(container.read_only, true, name)
    t.strictSame(container.cap_drop, ['ALL'], name)
    t.strictSame(container.security_opt, ['no-new-privileges:true'], name)
    t.ok(container.tmpfs.includes('/tmp'), name)
    t.equal(container.restart, 'unless-stopped', name)
    t.match(
      container.logging,
      { driver: 'json-file', options: { 'max-size': '10m', 'max-file': '5' } },
      `${name} rotates its log`,
    )
    t.ok(container.healthcheck, `${name} has a health check that podman keeps`)
    t.match(container.deploy.resources.limits, { cpus: /^\d/, memory: /^\d+[MG]$/ }, name)
  }
  t.not(compose.services.postgres.user?.split(':')[0], '0')
  t.ok(Number.parseInt(compose.services.service.stop_grace_period, 10) > closeDeadlineSeconds())
})

test('Railway: the same image, a health check that is a route, time to drain', async (t) => {
  const { build, deploy } = JSON.parse(read('railway.json'))
  t.equal(build.builder, 'DOCKERFILE')
  t.ok(existsSync(join(ROOT, build.dockerfilePath)))
  const { app } = await startService(t)
  t.ok(app.hasRoute({ method: 'GET', url: deploy.healthcheckPath }))
  t.equal(deploy.restartPolicyType, 'ON_FAILURE')
  t.ok(deploy.drainingSeconds > closeDeadlineSeconds())
  for (const [name, value] of Object.entries(deploy)) {
    if (/Seconds|Timeout|Retries/.test(name)) t.type(value, 'number', `Railway refuses text for ${name}`)
  }
})

function closeDeadlineSeconds(): number {
  const [, ms = ''] = /^const CLOSE_DEADLINE_MS = ([\d_]+)$/m.exec(read('src/server.ts')) ?? []
  return Number(ms.replaceAll('_', '')) / 1000
}

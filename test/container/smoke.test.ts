import { spawnSync } from 'node:child_process'
import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { ROOT } from '../helpers/process.ts'

const SMOKE = join(ROOT, 'test/container/smoke.sh')

test('without a container engine the smoke test says that it did not run', async (t) => {
  const bin = t.testdir()
  for (const tool of ['dirname', 'sh'])
    symlinkSync(spawnSync('which', [tool]).stdout.toString().trim(), join(bin, tool))
  const { status, stderr } = spawnSync('/bin/sh', [SMOKE], { env: { PATH: bin }, encoding: 'utf8' })
  t.equal(status, 0, stderr)
  t.match(stderr, /^NOT RUN: neither docker nor podman answers/)
})

test('the smoke test confines containers as compose does, and is a valid shell script', async (t) => {
  t.equal(spawnSync('sh', ['-n', SMOKE]).status, 0)
  const script = readFileSync(SMOKE, 'utf8')
  for (const flag of ['--read-only', '--cap-drop ALL', '--security-opt no-new-privileges', '--tmpfs /tmp']) {
    t.match(script, flag)
  }
})

test('compose with secrets as files: each is mounted where its setting expects it, and no password is a variable', async (t) => {
  const { services, secrets } = parse(readFileSync(join(ROOT, 'examples/compose/secrets.yml'), 'utf8'), {
    // `!reset` takes out what docker-compose.yml sets.
    customTags: [{ tag: '!reset', resolve: () => undefined }],
  })
  const names: string[] = []
  for (const [service, reset] of [
    ['service', 'DATABASE_URL'],
    ['postgres', 'POSTGRES_PASSWORD'],
  ] as const) {
    const { secrets: mounted, environment } = services[service]
    names.push(...mounted)
    const files = mounted.map((name: string) => [`${name.toUpperCase()}_FILE`, `/run/secrets/${name}`])
    t.strictSame(environment, { [reset]: undefined, ...Object.fromEntries(files) })
  }
  t.strictSame(names.toSorted(), Object.keys(secrets).toSorted())
  t.match(readFileSync(join(ROOT, '.gitignore'), 'utf8'), /^\/secrets\/$/m, 'and never committed')
  for (const name of names) t.match(secrets[name].file, `./secrets/${name}`)
})

import { spawnSync } from 'node:child_process'
import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { ROOT } from '../helpers/process.ts'

const SMOKE = join(ROOT, 'test/container/smoke.sh')

test('where no engine answers, the smoke test says so, loudly', async (t) => {
  const bin = t.testdir()
  for (const tool of ['dirname', 'sh'])
    symlinkSync(spawnSync('which', [tool]).stdout.toString().trim(), join(bin, tool))
  const { status, stderr } = spawnSync('/bin/sh', [SMOKE], { env: { PATH: bin }, encoding: 'utf8' })
  t.equal(status, 0, stderr)
  t.match(stderr, /^NOT RUN: neither docker nor podman answers/)
})

test('it confines the containers as compose does, and is a good script', async (t) => {
  t.equal(spawnSync('sh', ['-n', SMOKE]).status, 0)
  const script = readFileSync(SMOKE, 'utf8')
  for (const flag of ['--read-only', '--cap-drop ALL', '--security-opt no-new-privileges', '--tmpfs /tmp']) {
    t.match(script, flag)
  }
})

test('compose with secrets as files: each is mounted where its setting looks for it', async (t) => {
  const { services, secrets } = parse(readFileSync(join(ROOT, 'examples/compose/secrets.yml'), 'utf8'))
  const names = Object.keys(secrets)
  t.strictSame(services.service.secrets, names)
  t.strictSame(
    services.service.environment,
    Object.fromEntries(names.map((name) => [`${name.toUpperCase()}_FILE`, `/run/secrets/${name}`])),
  )
  t.match(readFileSync(join(ROOT, '.gitignore'), 'utf8'), /^\/secrets\/$/m, 'and never committed')
  for (const name of names) t.match(secrets[name].file, `./secrets/${name}`)
})

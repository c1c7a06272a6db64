/**
 * Both commands of the README in a fresh clone: as root and as a plain user, in a folder that only its owner may enter (root's home on
 * a fresh server is one) and in an open one. Nothing may be left running, and no copy of PostgreSQL in the temporary folder.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Test, test } from 'tap'
import { freePorts, ROOT } from '../helpers/process.ts'
import { waitUntil } from '../helpers/wait-until.ts'

// Of Debian's `daemon`: not nobody, who PostgreSQL runs as where root starts it.
const PLAIN_USER = { uid: 1, gid: 1 }
const isRoot = process.getuid?.() === 0
const users = isRoot ? { root: { uid: 0, gid: 0 }, 'a plain user': PLAIN_USER } : { 'a plain user': undefined }
const TESTS = ['test/embedded/postgres.test.ts', 'test/domain/version.test.ts']

for (const [who, identity] of Object.entries(users)) {
  for (const [where, mode] of [
    ['a closed folder', 0o700],
    ['an open folder', 0o755],
  ] as const) {
    test(`npm run dev and npm test, as ${who} in ${where}`, { timeout: 1_800_000 }, async (t) => {
      const base = mkdtempSync(join(tmpdir(), 'commands-'))
      chmodSync(base, 0o755)
      const [home, temporary] = [join(base, 'home'), join(base, 'tmp')]
      for (const [path, pathMode] of [
        [home, mode],
        [temporary, 0o1777],
      ] as const) {
        mkdirSync(path)
        chmodSync(path, pathMode)
        if (identity) chownSync(path, identity.uid, identity.gid)
      }
      t.teardown(() => rmSync(base, { recursive: true, force: true }))
      const clone = join(home, 'clone')
      copyRepository(clone, mode === 0o700 ? '077' : '022', identity)
      const env = {
        PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
        HOME: home,
        TMPDIR: temporary,
        npm_config_cache: join(home, '.npm'),
        npm_config_update_notifier: 'false',
      }
      const options = { cwd: clone, ...identity }
      // Out of tap's reach, which measures what runs in here: the clone is to run by itself.
      const npm = (more: Record<string, string>, ...args: string[]) => [
        '-i',
        ...Object.entries({ ...env, ...more }).map(([name, value]) => `${name}=${value}`),
        'npm',
        ...args,
      ]

      const port = await freePorts()
      const dev = spawn('/usr/bin/env', npm({ PORT: String(port) }, 'run', 'dev'), { ...options, detached: true })
      const output = collect(t, dev)
      const ended = once(dev, 'exit')
      await Promise.race([
        waitUntil('the banner', async () => output().includes('Press Ctrl-C to stop everything.')),
        ended.then(() => Promise.reject(new Error(output()))),
      ])
      t.equal((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 200)
      process.kill(-(dev.pid as number), 'SIGINT') // Ctrl-C
      await ended
      await waitUntil('the end of all of it', async () => running(base).length === 0)

      const tap = npm({}, 'test', '--', '--disable-coverage', '--allow-incomplete-coverage', ...TESTS)
      const tested = spawnSync('/usr/bin/env', tap, { ...options, encoding: 'utf8' })
      t.equal(tested.status, 0, `${tested.stdout.slice(-4_000)}${tested.stderr.slice(-2_000)}`)
      t.strictSame(running(base), [], 'no process is left')
      t.strictSame(globSync('**/*-server-*', { cwd: temporary }), [], 'no copy of PostgreSQL is left')
      // As root in a closed folder the data of `dev` have their place there, which is remembered.
      const kept = readdirSync(temporary).filter((name) => name.startsWith('clerk-session-sync-'))
      t.ok(kept.length <= (who === 'root' && mode === 0o700 ? 1 : 0), kept.join(' '))
    })
  }
}

/** What a clone and `npm ci` make, with the modes that this umask leaves. */
function copyRepository(to: string, umask: string, identity: typeof PLAIN_USER | undefined): void {
  const owner = identity ? `chown -R ${identity.uid}:${identity.gid} "$1"` : ':'
  const script = `umask ${umask}; mkdir "$1"; cd "$0"
    { git ls-files -z --cached --others --exclude-standard; printf 'node_modules\\0'; } | tar --null -T - -cf - | tar -C "$1" --no-same-permissions -xf -
    [ ! -d tools/node/node_modules ] || cp -R tools/node/node_modules "$1/tools/node/"
    ${owner}`
  const { status, stderr } = spawnSync('sh', ['-ec', script, ROOT, to], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

function collect(t: Test, child: ReturnType<typeof spawn>): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (chunk) => (text += chunk))
  t.teardown(() => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), 'SIGKILL')
  })
  return () => text
}

/** Processes whose command line names something below this folder. */
function running(folder: string): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return []
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      return line.includes(folder) && Number(pid) !== process.pid ? [`${pid} ${line}`] : []
    } catch {
      return []
    }
  })
}

/** The package as `npm install` puts it into an application: packed, unpacked, with its production dependencies and nothing else. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { ROOT } from './process.ts'

export interface Installed {
  /** The application's folder. */
  folder: string
  /** Of the installed package. */
  self: string
  /** What the package holds, as paths in it. */
  files: string[]
  /** Installs further packages that this repository has, each with what it needs. */
  add(...names: string[]): void
}

interface Locked {
  dependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
  peerDependenciesMeta?: Record<string, { optional?: boolean }>
  optionalDependencies?: Record<string, string>
}

/** Installs the package, which must have been built, into a folder of its own. */
export function installPackage(t: Test): Installed {
  const folder = mkdtempSync(join(tmpdir(), 'clerk-session-sync-installed-'))
  chmodSync(folder, 0o711) // As root, PostgreSQL runs as another user.
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const self = join(folder, 'node_modules/clerk-session-sync')
  mkdirSync(self, { recursive: true })
  const packed = run('npm', ['pack', '--json', '--silent', '--ignore-scripts', '--pack-destination', folder], ROOT)
  // npm 10 and 11 print a list, later ones an object by name.
  const [{ filename, files }] = Object.values(JSON.parse(packed)) as [{ filename: string; files: { path: string }[] }]
  run('tar', ['-xzf', join(folder, filename), '-C', self, '--strip-components=1'], ROOT)

  const locked: Record<string, Locked> = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages
  const present = new Set<string>()
  function add(...names: string[]): void {
    // Those of other platforms are in the lock file alone.
    const missing = names.filter((name) => !present.has(name) && existsSync(join(ROOT, 'node_modules', name)))
    if (missing.length === 0) return
    for (const name of missing) {
      present.add(name)
      const to = join(folder, 'node_modules', name)
      mkdirSync(dirname(to), { recursive: true })
      run('cp', ['-R', join(ROOT, 'node_modules', name), to], ROOT)
    }
    for (const name of missing) {
      // What lies inside its own folder came with it, but may need what lies outside.
      const inside = Object.keys(locked).filter((path) => path.startsWith(`node_modules/${name}/node_modules/`))
      for (const path of [`node_modules/${name}`, ...inside]) add(...requirements(locked[path] as Locked))
    }
  }
  add(...Object.keys(JSON.parse(readFileSync(join(self, 'package.json'), 'utf8')).dependencies))
  return { folder, self, files: files.map(({ path }) => path), add }
}

function requirements({ dependencies, peerDependencies, peerDependenciesMeta = {}, optionalDependencies }: Locked) {
  const peers = Object.keys(peerDependencies ?? {}).filter((name) => !peerDependenciesMeta[name]?.optional)
  return [...Object.keys({ ...dependencies, ...optionalDependencies }), ...peers]
}

function run(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
  return stdout
}

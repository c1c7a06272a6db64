import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { type Test, test } from 'tap'
import { ROOT, read } from './markdown.ts'

const MAX_GZIPPED_BYTES = 2_300
const PACKAGE = join(ROOT, 'packages/client')
const TSC = join(ROOT, 'node_modules/typescript/lib/tsc.js')
const manifest = JSON.parse(read('packages/client/package.json'))

async function bundle(entry: string, external: string[] = []): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(PACKAGE, 'src', entry)],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    external,
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}

test('the client is under 2,300 bytes, and needs neither packages nor Node.js', async (t) => {
  const code = await bundle('index.ts')
  const bytes = gzipSync(code).byteLength
  t.comment(`${bytes} bytes gzipped`)
  t.ok(bytes < MAX_GZIPPED_BYTES, `${bytes} bytes`)
  t.notMatch(code, /\bimport\b|\brequire\b|\bprocess\b|\bdocument\b|\bwindow\b/)
  for (const name of ['react', 'vue']) {
    const entry = await bundle(`${name}.ts`, [name])
    t.strictSame(
      [...entry.matchAll(/from"([^"]+)"/g)].map(([, source]) => source),
      [name],
    )
  }
})

/** The package as it is installed: its manifest, and what the build makes; React and Vue beside it. */
function install(t: Test): string {
  const directory = t.testdir({ node_modules: { 'clerk-session-sync-client': {}, '@types': {}, '@vue': {} } })
  const packages = join(directory, 'node_modules')
  const self = join(packages, 'clerk-session-sync-client')
  cpSync(join(PACKAGE, 'package.json'), join(self, 'package.json'))
  const emit = tsc(ROOT, ['-p', 'packages/client/tsconfig.build.json', '--outDir', join(self, 'dist')])
  t.equal(emit.status, 0, emit.stdout)
  mkdirSync(join(packages, '@types'), { recursive: true })
  for (const name of ['vue', '@types/react']) symlinkSync(join(ROOT, 'node_modules', name), join(packages, name))
  return directory
}

const tsc = (cwd: string, args: string[]) => spawnSync(process.execPath, [TSC, ...args], { cwd, encoding: 'utf8' })

const CONSUMER = `
import { createSessionSync, SessionSyncError, type SignedOut, type SignedOutReason } from 'clerk-session-sync-client'
const api = createSessionSync({
  baseUrl: 'https://api.example.com',
  getToken: async (options) => (options?.skipCache ? 'fresh' : null),
  onSignedOut: ({ reason, sessionId }: SignedOut) => [reason satisfies SignedOutReason, sessionId],
})
const email: string | null = (await api.profile()).email
const created: boolean = (await api.syncUser()).created
const code: string = new SessionSyncError(0, '', '').code
// @ts-expect-error a number is no reason
createSessionSync({ baseUrl: '', getToken: () => null, onSignedOut: (reason: number) => reason })
export { code, created, email }
`
const WITH_FETCH = `
import { createSessionSync } from 'clerk-session-sync-client'
const api = createSessionSync({ baseUrl: '', getToken: () => null, fetch: globalThis.fetch })
const ok: boolean = (await api.fetch('/orders', { method: 'POST', body: '{}' })).ok
export { ok }
`
// A status decides what else there is.
const HOOKS = `
import { useSessionSync } from 'clerk-session-sync-client/react'
import { useSessionSync as useInVue } from 'clerk-session-sync-client/vue'
const options = { baseUrl: '', getToken: async () => null, isLoaded: true, isSignedIn: undefined }
export function shown(): string {
  for (const session of [useSessionSync(options), useInVue(options).value]) {
    if (session.status === 'ready') return session.user.id
    if (session.status === 'refused') return session.error.code
    if (session.status === 'failed') return session.error.message
    // @ts-expect-error there is no user yet
    session.user.id
  }
  return ''
}
`

test('the types hold for bundlers and for Node.js, and without a DOM', { timeout: 240_000 }, async (t) => {
  const directory = install(t)
  writeFileSync(join(directory, 'package.json'), '{"type": "module"}')
  writeFileSync(join(directory, 'consumer.ts'), CONSUMER)
  writeFileSync(join(directory, 'with-fetch.ts'), WITH_FETCH)
  writeFileSync(join(directory, 'hooks.ts'), HOOKS)
  for (const [module, resolution] of [
    ['esnext', 'bundler'],
    ['node16', 'node16'],
    ['nodenext', 'nodenext'],
  ] as const) {
    for (const lib of ['es2022', 'es2022,dom']) {
      const files = lib === 'es2022' ? ['consumer.ts'] : ['consumer.ts', 'with-fetch.ts', 'hooks.ts']
      const options = ['--module', module, '--moduleResolution', resolution, '--target', 'es2022', '--lib', lib]
      const checks = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--types', '']
      const run = tsc(directory, [...checks, ...options, ...files])
      t.equal(run.status, 0, `${resolution}, ${lib}: ${run.stdout}`)
    }
  }
})

// TypeScript 7 has no node10 any more; tap brings an older compiler.
test('node10 of TypeScript 5 finds the same types, by main and typesVersions', { timeout: 240_000 }, async (t) => {
  const directory = install(t)
  const older = createRequire(createRequire(import.meta.url).resolve('@tapjs/test/package.json')).resolve(
    'typescript/lib/tsc.js',
  )
  t.match(JSON.parse(readFileSync(join(older, '../../package.json'), 'utf8')).version, /^5\./)
  writeFileSync(join(directory, 'package.json'), '{"type": "module"}')
  writeFileSync(join(directory, 'consumer.ts'), CONSUMER)
  writeFileSync(join(directory, 'hooks.ts'), HOOKS)
  const options = ['--module', 'esnext', '--moduleResolution', 'node10', '--target', 'es2022', '--lib', 'es2022,dom']
  const checks = ['--noEmit', '--strict', '--skipLibCheck', '--listFiles']
  const run = spawnSync(process.execPath, [older, ...checks, ...options, 'consumer.ts', 'hooks.ts'], {
    cwd: directory,
    encoding: 'utf8',
  })
  t.equal(run.status, 0, run.stdout)
  // Of this package, and not of the workspace above.
  const used = run.stdout.split('\n')
  for (const name of ['index', 'react', 'vue'])
    t.ok(used.includes(join(directory, `node_modules/clerk-session-sync-client/dist/${name}.d.ts`)), name)
})

test('it installs nothing else, and the service does not install it', async (t) => {
  t.notOk(manifest.dependencies ?? manifest.peerDependencies ?? manifest.scripts)
  t.strictSame(manifest.files, ['dist', 'README.md'])
  t.strictSame(manifest.peerDependenciesMeta, { react: { optional: true }, vue: { optional: true } })
  const service = JSON.parse(read('package.json'))
  t.notOk(manifest.name in service.dependencies)
  t.strictSame(Object.keys(service.exports), ['.', './schema', './testing', './package.json'])
})

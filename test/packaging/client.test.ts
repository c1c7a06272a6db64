import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { type Test, test } from 'tap'
import { ROOT, read } from './markdown.ts'

const MAX_GZIPPED_BYTES = 2_048
const TSC = join(ROOT, 'node_modules/typescript/lib/tsc.js')

async function bundle(entry: string, external: string[] = []): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, entry)],
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

test('the client is under 2 KB, and needs neither packages nor Node.js', async (t) => {
  const code = await bundle('src/client/index.ts')
  const bytes = gzipSync(code).byteLength
  t.comment(`${bytes} bytes gzipped`)
  t.ok(bytes < MAX_GZIPPED_BYTES, `${bytes} bytes`)
  t.notMatch(code, /\bimport\b|\brequire\b|\bprocess\b|\bdocument\b|\bwindow\b/)
  const hook = await bundle('src/client/react.ts', ['react'])
  t.strictSame(
    [...hook.matchAll(/from"([^"]+)"/g)].map(([, name]) => name),
    ['react'],
  )
})

/** The package as it is installed: its exports map, and the client as the build makes it. */
function install(t: Test): string {
  const directory = t.testdir({ node_modules: { 'clerk-session-sync': {} } })
  const self = join(directory, 'node_modules/clerk-session-sync')
  writeFileSync(join(self, 'package.json'), read('package.json'))
  const emit = tsc(ROOT, [...['-p', 'tsconfig.build.json', '--outDir', join(self, 'dist'), '--sourceMap', 'false']])
  t.equal(emit.status, 0, emit.stdout)
  return directory
}

const tsc = (cwd: string, args: string[]) => spawnSync(process.execPath, [TSC, ...args], { cwd, encoding: 'utf8' })

const CONSUMER = `
import { createSessionSync, SessionSyncError, type SignedOutReason } from 'clerk-session-sync/client'
import { useSessionSync } from 'clerk-session-sync/react'
const api = createSessionSync({
  baseUrl: 'https://api.example.com',
  getToken: async (options) => (options?.skipCache ? 'fresh' : null),
  onSignedOut: (reason: SignedOutReason) => reason.length,
})
const email: string | null = (await api.profile()).email
const created: boolean = (await api.syncUser()).created
const hook = useSessionSync({ baseUrl: '', getToken: async () => null, isLoaded: true, isSignedIn: undefined })
const status: 'loading' | 'signed-out' | 'syncing' | 'ready' | 'refused' | 'failed' = hook.status
const code: string = new SessionSyncError(0, '', '').code
// @ts-expect-error a number is no reason
createSessionSync({ baseUrl: '', getToken: () => null, onSignedOut: (reason: number) => reason })
export { code, created, email, status }
`
const WITH_FETCH = `
import { createSessionSync } from 'clerk-session-sync/client'
const api = createSessionSync({ baseUrl: '', getToken: () => null, fetch: globalThis.fetch })
const ok: boolean = (await api.fetch('/orders', { method: 'POST', body: '{}' })).ok
export { ok }
`

test('the types hold for bundlers and for Node.js, and without a DOM', { timeout: 120_000 }, async (t) => {
  const directory = install(t)
  writeFileSync(join(directory, 'package.json'), '{"type": "module"}')
  writeFileSync(join(directory, 'consumer.ts'), CONSUMER)
  writeFileSync(join(directory, 'with-fetch.ts'), WITH_FETCH)
  for (const [module, resolution] of [
    ['esnext', 'bundler'],
    ['node16', 'node16'],
  ] as const) {
    for (const lib of ['es2022', 'es2022,dom']) {
      const files = lib === 'es2022' ? ['consumer.ts'] : ['consumer.ts', 'with-fetch.ts']
      const options = ['--module', module, '--moduleResolution', resolution, '--target', 'es2022', '--lib', lib]
      const run = tsc(directory, ['--ignoreConfig', '--noEmit', '--strict', '--types', '', ...options, ...files])
      t.equal(run.status, 0, `${resolution}, ${lib}: ${run.stdout}`)
    }
  }
  const { exports } = JSON.parse(readFileSync(join(directory, 'node_modules/clerk-session-sync/package.json'), 'utf8'))
  t.match(exports, { './client': { types: String }, './react': { types: String } })
})

import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'tap'
import * as errors from '../../src/errors.ts'
import { blockOf, ROOT, read, rowsOf } from './markdown.ts'

const GUIDE = 'FRONTEND_SESSION_SYNC_GUIDE.md'

test('every snippet of the guide compiles under strict, against the types of Clerk, React and Vue', async (t) => {
  const directory = t.testdir({ 'package.json': '{"type": "module"}' })
  const link = (name: string, target = `node_modules/${name}`) => {
    const path = join(directory, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(join(ROOT, target), path)
  }
  const packages = ['react', 'vue', '@types/react', '@clerk/react', '@clerk/vue']
  for (const name of [...packages, 'axios', 'ky', 'openapi-fetch']) link(name)
  const sources = join(ROOT, 'packages/client/src')
  const paths = {
    'clerk-session-sync-client': [join(sources, 'index.ts')],
    'clerk-session-sync-client/*': [join(sources, '*.ts')],
  }
  const options = {
    ...{ strict: true, noEmit: true, skipLibCheck: true, allowImportingTsExtensions: true, types: [] },
    ...{ target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable'], module: 'esnext', moduleResolution: 'bundler' },
    ...{ jsx: 'react-jsx', paths },
  }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions: options }))
  const fences = read(GUIDE).matchAll(/^```(tsx?|jsx?)$/gm)
  const snippets = read(GUIDE).matchAll(/^<!-- ([a-z]+) -->\n```(tsx?)$/gm)
  const found = [...snippets].map(([, marker = '', kind]) => {
    writeFileSync(join(directory, `${marker}.${kind}`), blockOf(GUIDE, marker))
    return marker
  })
  t.equal(found.length, [...fences].length, 'each has a marker, and is TypeScript')
  // Not bin/tsc, whose name without an extension tap's loaders take for CommonJS.
  const compiler = join(ROOT, 'node_modules/typescript/lib/tsc.js')
  const { status, stdout } = spawnSync(process.execPath, [compiler, '-p', '.'], { cwd: directory, encoding: 'utf8' })
  t.equal(status, 0, stdout)
})

test('the guide explains every code that a signed-in caller can get', async (t) => {
  const codes = Object.values(errors).flatMap((value) => {
    if (typeof value !== 'function' || !('prototype' in value) || !(value.prototype instanceof Error)) return []
    const { statusCode, code } = new (value as new () => Error & { statusCode: number; code: string })()
    // The dashboard is called by its own page alone, the feed by servers; and ON_CHANGE_FAILED and BODIES_OVER_BUDGET answer webhooks.
    const isForCallers =
      [401, 403, 429, 503].includes(statusCode) && !/^(DASHBOARD_|CHANGES_|ON_CHANGE_|BODIES_)/.test(code)
    return isForCallers ? `${statusCode} ${code}` : []
  })
  const shown = rowsOf(GUIDE, /^[45]\d\d$/).flatMap(([status, cell = '']) =>
    [...cell.matchAll(/[A-Z_]+/g)].map(([code]) => `${status} ${code}`),
  )
  t.ok(codes.length >= 11, 'the codes are found')
  for (const code of codes) t.ok(shown.includes(code), `${code} is explained`)
  t.equal(new Set(shown).size, shown.length, 'and none twice')
  // The client's own list.
  const known = /type ServiceCode =([\s\S]*?)\n\n/.exec(read('packages/client/src/types.ts'))?.[1] ?? ''
  const over = /type SignedOutReason =(.*)/.exec(read('packages/client/src/types.ts'))?.[1] ?? ''
  t.strictSame(
    [...`${over} ${known}`.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code as string).toSorted(),
    shown.map((code) => code.slice(4)).toSorted(),
  )
})

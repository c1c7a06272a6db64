/** What is installed beside the project's own code, from the lock file. */
import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { ROOT, read, rowsOf } from './markdown.ts'

interface Package {
  version: string
  resolved?: string
  link?: boolean
  integrity?: string
  license?: string
  dev?: boolean
  hasInstallScript?: boolean
  engines?: { node?: string }
}

const manifest = JSON.parse(read('package.json'))
const { '': root, ...others } = JSON.parse(read('package-lock.json')).packages as Record<string, Package>
// The client is a package of this repository, and a link to it.
const installed = Object.entries(others).filter(([path, { link }]) => path !== 'packages/client' && !link)
const all = installed.map(([path, one]) => ({
  ...one,
  name: path.split('node_modules/').at(-1) as string,
}))
const production = all.filter(({ dev }) => !dev)

// All of them let anybody use, change and pass on the code, and ask for no more than to be named.
const ALLOWED = ['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', 'BlueOak-1.0.0', '0BSD', 'Unlicense']

test('every production dependency has a permissive licence', async (t) => {
  t.ok(production.length > 50)
  const others = production.filter(({ license }) => !ALLOWED.includes(license ?? 'none'))
  t.strictSame(others, [])
})

test('every package is pinned by its checksum, and the lock file contains no registry URL (see .npmrc)', async (t) => {
  const loose = all.filter(({ resolved, integrity }) => resolved !== undefined || !integrity?.startsWith('sha512-'))
  t.strictSame(loose, [])
})

test('the tools are pinned too, and few', async (t) => {
  for (const [folder, name] of [
    ['tools', '@biomejs/biome'],
    ['tools/node', 'node'],
  ] as const) {
    const { '': _, ...packages } = JSON.parse(read(`${folder}/package-lock.json`)).packages as Record<string, Package>
    t.ok(`node_modules/${name}` in packages)
    t.ok(Object.keys(packages).length < 15)
    for (const [path, { integrity, resolved }] of Object.entries(packages)) {
      t.match(integrity, /^sha512-/, path)
      t.equal(resolved, undefined)
    }
  }
})

test('no production dependency has an install script, and development dependencies only known ones', async (t) => {
  const withScripts = all.filter(({ hasInstallScript }) => hasInstallScript)
  t.strictSame(
    withScripts.filter(({ dev }) => !dev),
    [],
  )
  for (const { name } of withScripts) t.type(manifest.allowScripts[name], 'boolean', `${name} is decided on`)
  for (const name of Object.keys(manifest.allowScripts))
    t.ok(
      withScripts.some((one) => one.name === name),
      name,
    )
})

test('every production dependency runs on the oldest Node.js that the project names', async (t) => {
  const [, floor = ''] = /^>=([\d.]+)$/.exec(manifest.engines.node) ?? []
  t.strictSame(root?.engines, manifest.engines)
  t.match(read('README.md'), `Node.js ${floor} or newer`)
  for (const { name, engines } of production) t.ok(allows(engines?.node ?? '*', floor), `${name}: ${engines?.node}`)
})

test('production dependencies are few, and docs/dependencies.md has a reason for each, optional ones included', async (t) => {
  const DOCS = 'docs/dependencies.md'
  const named = (heading: string) =>
    rowsOf(DOCS, /^`/, heading).flatMap(([cell = '', reason = '']) =>
      reason.length > 10 ? [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name as string) : [],
    )
  const dependencies = Object.keys(manifest.dependencies)
  const rows = named('## At run time')
  const optional = named('## Only if you want it')
  t.strictSame(rows.filter((name) => !optional.includes(name)).toSorted(), dependencies.toSorted())
  t.strictSame(optional.toSorted(), Object.keys(manifest.peerDependencies).toSorted())
  t.strictSame(
    Object.keys(manifest.peerDependenciesMeta).toSorted(),
    Object.keys(manifest.peerDependencies).toSorted(),
    'none is required',
  )
  t.ok(dependencies.length <= 22)
})

test('the installed size stays small', async (t) => {
  const MEGABYTE = 1_048_576
  // Of an older Node.js alone, see `prepare` in package.json.
  const paths = installed.map(([path]) => path).filter((path) => !path.includes('/node_modules/'))
  const isDev = Object.fromEntries(installed.map(([path, { dev }]) => [path, dev]))
  const sizes = paths.map((path) => ({ path, bytes: sizeOf(join(ROOT, path)) }))
  const sum = (some: typeof sizes) => Math.round(some.reduce((total, { bytes }) => total + bytes, 0) / MEGABYTE)
  const production = sum(sizes.filter(({ path }) => !isDev[path]))
  t.ok(production > 20 && production < 60, `npm ci --omit=dev: ${production} MB`)
  const all = sum(sizes)
  t.ok(all > 200 && all < 450, `npm ci: ${all} MB`)
})

/** The bytes of a package's files; 0 where it is of another platform. */
function sizeOf(path: string): number {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found) return 0
  if (!found.isDirectory()) return found.size
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
}

/** Whether a range of alternatives, each a single bound as packages write them, lets this version pass. */
function allows(range: string, version: string): boolean {
  return range.split('||').some((alternative) => {
    const [, operator, bound = ''] = /^\s*(>=|\^|~)?\s*v?([\d.x*]+)\s*$/.exec(alternative) ?? []
    if (bound === '*') return true
    const order = compare(version, bound)
    if (operator === '>=') return order >= 0
    return order >= 0 && version.split('.')[0] === bound.split('.')[0]
  })
}

function compare(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split('.').map((part) => Number(part) || 0))
  const at = [0, 1, 2].find((i) => (left?.[i] ?? 0) !== (right?.[i] ?? 0)) ?? 0
  return (left?.[at] ?? 0) - (right?.[at] ?? 0)
}

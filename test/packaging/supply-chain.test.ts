/** What is installed beside the project's own code, from the lock file. */
import { test } from 'tap'
import { read, rowsOf } from './markdown.ts'

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

test('every package is pinned by its checksum, and named by no address (see .npmrc)', async (t) => {
  const loose = all.filter(({ resolved, integrity }) => resolved !== undefined || !integrity?.startsWith('sha512-'))
  t.strictSame(loose, [])
})

test('no production dependency runs a script when it is installed, and others only as decided', async (t) => {
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

test('production dependencies are few, and each is documented with its reason', async (t) => {
  const rows = rowsOf('docs/dependencies.md', /^`(@[a-z-]+\/)?[a-z-]+`$/)
  const named = rows.flatMap(([cell = '', reason = '']) => (reason.length > 10 ? cell.slice(1, -1) : []))
  const dependencies = Object.keys(manifest.dependencies)
  t.strictSame(named.toSorted(), dependencies.toSorted())
  t.ok(dependencies.length <= 27)
})

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

import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'tap'

const SRC = join(import.meta.dirname, '../src')
const CLIENT = join(import.meta.dirname, '../packages/client/src')

// Who may import what. A layer not named under a layer may not be imported by it; files of one layer may import each other.
const MAY_IMPORT: Record<string, string[]> = {
  domain: [],
  'errors.ts': [],
  // The mechanism and the resources meet: resources are made of its parts, and it writes all that are in their list.
  resources: ['db', 'domain'],
  db: ['resources', 'domain', 'errors.ts'],
  clerk: ['resources', 'domain', 'errors.ts'],
  jobs: ['db', 'clerk', 'resources', 'domain', 'errors.ts'],
  plugins: ['jobs', 'db', 'clerk', 'resources', 'domain', 'errors.ts', 'sign-webhook.ts'],
  routes: ['resources', 'domain', 'errors.ts'],
  'app.ts': ['plugins', 'routes', 'errors.ts'],
  'clerk-routes.ts': ['plugins', 'routes'],
  'config.ts': ['domain', 'secret-files.ts', 'setting-values.ts', 'sign-webhook.ts'],
  'dashboard-token.ts': [],
  'local-only.ts': [],
  'secret-files.ts': [],
  'sign-webhook.ts': [],
  'setting-values.ts': ['secret-files.ts'],
  embedded: ['emulator', 'config.ts'],
  'server.ts': ['app.ts', 'config.ts', 'dashboard-token.ts', 'db', 'embedded', 'plugins'],
  'schema.ts': ['db'],
  'index.ts': ['app.ts', 'clerk-routes.ts', 'db', 'domain', 'plugins', 'resources'],
  cli: ['config.ts', 'dashboard-token.ts', 'setting-values.ts', 'jobs', 'db', 'clerk', 'resources', 'domain'],
  demo: ['app.ts', 'embedded', 'local-only.ts', 'config.ts', 'db', 'domain', 'plugins', 'resources', 'server.ts'],
  emulator: ['local-only.ts', 'sign-webhook.ts'],
}
// Types alone may come from further away.
const TYPES_TOO: Record<string, string[]> = {
  cli: ['config.ts'],
  embedded: ['config.ts'],
  'dashboard-token.ts': ['config.ts'],
}
// What a command may load when it runs; the others start faster without it. `dev` is loaded by its command alone.
const WHEN_RUN: Record<string, string[]> = { 'cli/index.ts': ['server.ts'], 'cli/dev.ts': ['embedded', 'demo'] }
// Those that may import config.ts for more than its types.
const READS_CONFIG = ['server.ts', 'cli/index.ts', 'demo/server.ts', 'demo/stack.ts']
const PACKAGES: Record<string, RegExp> = {
  domain: /^@sinclair\/typebox/,
  // On the command line without Fastify, whichever way it comes in.
  ...Object.fromEntries(['cli', 'jobs', 'db', 'clerk'].map((layer) => [layer, /^(?!fastify|@fastify\/)/])),
}

interface Import {
  file: string
  target: string
  isType: boolean
  isDynamic: boolean
}

function importsOf(file: string, root = SRC): Import[] {
  const source = readFileSync(join(root, file), 'utf8')
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s+(type\s+)?[^'"\n]*?(?:\n[^'"]*?)?from\s+'([^']+)'|import\('([^']+)'\)/g
  return [...source.matchAll(pattern)].map((match) => ({
    file,
    target: (match[2] ?? match[3]) as string,
    isType: match[1] !== undefined,
    isDynamic: match[3] !== undefined,
  }))
}

// What Clerk says and what becomes of it: pure, and all that routes and clients of Clerk may know of a resource at run time.
const IS_PURE = /^resources\/\w+\/(payload|change)\.ts$/
// What resources are made of; of the rest of db/ they know nothing.
const PARTS = [
  'db/drizzle.ts',
  'db/resource.ts',
  'db/statement.ts',
  'db/table.ts',
  'db/pruning.ts',
  'db/schema.ts',
  'db/versioned.ts',
]

const layerOf = (file: string) => file.split('/', 1)[0] as string

test('imports point one way', async (t) => {
  const files = globSync('**/*.ts', { cwd: SRC })
  t.ok(files.length > 30, 'the files are found')
  const all = files.flatMap((file) => importsOf(file))
  t.ok(all.length > 100, 'their imports are found')
  for (const { file, target, isType, isDynamic } of all) {
    const layer = layerOf(file)
    if (!target.startsWith('.')) {
      const allowed = PACKAGES[layer]
      if (allowed && !target.startsWith('node:')) t.match(target, allowed, `${file} imports the package ${target}`)
      if (layer === 'domain') t.notMatch(target, /^node:/, `${file} knows no Node.js`)
      continue
    }
    const to = relative(SRC, join(SRC, dirname(file), target))
    const toLayer = layerOf(to)
    const more = isDynamic || file === 'cli/dev.ts' ? (WHEN_RUN[file] ?? []) : []
    const allowed = [layer, ...(MAY_IMPORT[layer] ?? []), ...(isType ? (TYPES_TOO[layer] ?? []) : []), ...more]
    t.ok(allowed.includes(toLayer), `${file} may import ${to}`)
    if (to === 'cli/dev.ts') t.ok(isDynamic || isType, `${file} loads dev.ts when it is run`)
    if (to === 'config.ts' && !isType) t.ok(READS_CONFIG.includes(file), `${file} may read the settings`)
  }
})

test('only config.ts reads the environment, and hosts pass it on', async (t) => {
  const hosts = ['server.ts', 'cli/index.ts', 'cli/dev.ts', 'demo/server.ts', 'demo/stack.ts']
  for (const file of globSync('**/*.ts', { cwd: SRC })) {
    if (hosts.includes(file)) continue
    t.notMatch(readFileSync(join(SRC, file), 'utf8'), /process\.env/, `${file} receives options`)
  }
})

test('payloads and changes of resources are pure, and resources import only the building blocks of db', async (t) => {
  for (const { file, target, isType } of globSync('**/*.ts', { cwd: SRC }).flatMap((file) => importsOf(file))) {
    const to = target.startsWith('.') ? relative(SRC, join(SRC, dirname(file), target)) : target
    if (IS_PURE.test(file)) {
      t.match(to, /^(domain\/|@sinclair\/typebox|resources\/\w+\/(payload|change)\.ts$)/, `${file} may import ${to}`)
    }
    if (layerOf(file) === 'resources' && layerOf(to) === 'db') t.ok(PARTS.includes(to), `${file} may import ${to}`)
    if (['clerk', 'routes'].includes(layerOf(file)) && layerOf(to) === 'resources' && !isType) {
      t.match(to, IS_PURE, `${file} may import ${to}`)
    }
  }
})

test('Drizzle is imported by one file', async (t) => {
  const importers = globSync('**/*.ts', { cwd: SRC }).filter((file) =>
    importsOf(file).some(({ target }) => target.startsWith('drizzle-orm')),
  )
  t.strictSame(importers, ['db/drizzle.ts'])
})

test('src/db reaches resources only through their list', async (t) => {
  for (const file of ['db/apply.ts', 'db/isolation.ts', 'db/ledger.ts', 'db/pipeline.ts', 'db/pool.ts']) {
    const named = importsOf(file).filter(({ target }) => /resources\/[\w-]+\//.test(target))
    t.strictSame(named, [], `${file} knows no resource by name`)
  }
})

test('the client imports nothing but its own files, React and Vue', async (t) => {
  const files = globSync('**/*.ts', { cwd: CLIENT })
  t.ok(files.length > 5, 'the files are found')
  for (const { file, target } of files.flatMap((file) => importsOf(file, CLIENT))) {
    if (target.startsWith('.')) t.match(target, /^\.\/[a-z-]+\.ts$/, `${file} imports ${target}`)
    else t.equal(`${target}.ts`, file, `${file} imports the package ${target}`)
  }
  const { dependencies } = JSON.parse(readFileSync(join(CLIENT, '../package.json'), 'utf8'))
  t.equal(dependencies, undefined)
})

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'tap'
import { ROOT, read } from './markdown.ts'

const pages = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'))
const top = ['README.md', 'FRONTEND_SESSION_SYNC_GUIDE.md', 'SECURITY.md', 'CHANGELOG.md', 'CONTRIBUTING.md']

test('the README and the front-end guide have at most 200 lines', async (t) => {
  for (const file of ['README.md', 'FRONTEND_SESSION_SYNC_GUIDE.md']) {
    t.ok(read(file).trimEnd().split('\n').length <= 200, file)
  }
})

test('each page says for whom it is, and the README links to it', async (t) => {
  const readme = read('README.md')
  for (const page of pages) {
    t.match(read(`docs/${page}`), /^# .+\n\nFor /, page)
    t.ok(readme.includes(`](docs/${page})`), `README.md links to ${page}`)
  }
})

test('every link within the documentation has a target', async (t) => {
  const files = [...top, ...pages.map((page) => `docs/${page}`), 'bench/README.md']
  for (const file of files) {
    for (const [, address = ''] of read(file).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path = '', anchor] = address.split('#')
      const target = path === '' ? file : join(dirname(file), path)
      t.ok(existsSync(join(ROOT, target)), `${file}: ${address}`)
      if (anchor) t.ok(anchorsOf(target).includes(anchor), `${file}: ${address}`)
    }
  }
})

test('every source file that the pages for contributors name exists', async (t) => {
  for (const page of ['docs/architecture.md', 'CONTRIBUTING.md']) {
    const named = [...read(page).matchAll(/`((?:[\w-]+\/)+[\w-]+\.(?:ts|md|json|yml|conf))`/g)].map(
      ([, path = '']) => path,
    )
    t.ok(named.length > 5, `${page} names files`)
    for (const path of named)
      t.ok(
        [path, `src/${path}`].some((file) => existsSync(join(ROOT, file))),
        `${page}: ${path}`,
      )
  }
})

test('the glossary of the code and that of the documentation have the same words', async (t) => {
  const rows = [...read('docs/glossary.md').matchAll(/^\| ([a-z][a-z -]*) \| (.+) \|$/gm)].slice(1)
  const inCode = [...read('src/domain/change.ts').matchAll(/^ \* - ([a-z]+): (.+)\.$/gm)]
  t.equal(inCode.length, 10)
  t.strictSame(
    inCode.map(([, word, meaning]) => [word, meaning]),
    rows.slice(0, inCode.length).map(([, word, meaning]) => [word, meaning]),
  )
})

/** The anchors that GitHub gives the headings of a page. */
function anchorsOf(file: string): string[] {
  return [...read(file).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  )
}

// The history, generated files, and this list.
const UNREAD = /^(CHANGELOG\.md|package-lock\.json|test\/packaging\/documentation\.test\.ts)$/
const PRIVATE_WORDS = [
  'unless told',
  'mend(s|ed|ing)?',
  'a look',
  'go(es)? before',
  '(three|by) roads',
  '(is|are) told on',
  'in step with',
  'of ours',
  'without a word',
  'behind whom',
  'by the door',
  'tells? of',
  'who asks',
  "nobody's business",
]

test('no text uses these words, which have plain replacements', async (t) => {
  const words = new RegExp(`\\b(${PRIVATE_WORDS.join('|')})\\b`, 'i')
  const files = execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' })
    .split('\0')
    .filter((file) => /\.(ts|tsx|js|md|html|css|yml|json|conf|example)$|Dockerfile$/.test(file))
    .filter((file) => !UNREAD.test(file) && existsSync(join(ROOT, file)))
  t.ok(files.length > 400)
  for (const file of files) {
    for (const [at, line] of read(file).split('\n').entries()) {
      const [found] = words.exec(line) ?? []
      if (found !== undefined) t.fail(`${file}:${at + 1}: "${found}"`)
    }
  }
})

/** What the documents show, for tests that run it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '../..')

export const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

export interface Block {
  code: string
  /** The `text` block right below it: what running it prints. */
  output?: string
}

/** The fenced blocks that stand below `<!-- marker -->`, in order. Throws when there is none. */
export function blocksOf(file: string, marker: string): Block[] {
  const lines = read(file).split('\n')
  const blocks = lines.flatMap((line, at) => {
    if (line.trim() !== `<!-- ${marker} -->`) return []
    const block = fenced(lines, at + 1)
    const below = lines[block.end + 1]?.trim()
    return { code: block.text, output: below === '```text' ? fenced(lines, block.end + 1).text : undefined }
  })
  if (blocks.length === 0) throw new Error(`${file} has no block marked ${marker}`)
  return blocks
}

/** The fenced block whose first fence is this line, without the indentation of its fences. */
function fenced(lines: string[], start: number): { text: string; end: number } {
  const [, indent, info] = /^( *)```(\w+)$/.exec(lines[start] ?? '') ?? []
  const end = lines.indexOf(`${indent}\`\`\``, start)
  if (info === undefined || end < 0) throw new Error(`no fenced block at line ${start + 1}`)
  const text = lines.slice(start + 1, end).map((line) => `${line.slice(indent?.length)}\n`)
  return { text: text.join(''), end }
}

/** The one block of a marker. */
export function blockOf(file: string, marker: string): string {
  const [block, ...more] = blocksOf(file, marker)
  if (!block || more.length > 0) throw new Error(`${file} has several blocks marked ${marker}`)
  return block.code
}

/** The cells of the table rows whose first cell the pattern fits, of the whole file or below one heading. */
export function rowsOf(file: string, first: RegExp, heading?: string): string[][] {
  const text = read(file)
  const section = heading === undefined ? text : (text.split(`\n${heading}\n`)[1] ?? '').split(/^## /m)[0]
  return (section ?? '')
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .slice(1, -1)
        .split(' | ')
        .map((cell) => cell.replace(/^\||\|$/g, '').trim()),
    )
    .filter(([cell = '']) => first.test(cell))
}

/** The names of all settings, as the schema in config.ts has them. */
export function settingNames(): string[] {
  const schema = /^const Settings = Type\.Object\(\{\n([\s\S]*?)^\}\)$/m.exec(read('src/config.ts'))?.[1] ?? ''
  return [...schema.matchAll(/^ {2}([A-Z][A-Z_]+): /gm)].map(([, name]) => name as string)
}

/** The output of a command: results go to stdout, as text or JSON; everything else goes to stderr. */

export interface Output {
  readonly isJson: boolean
  /** The result, once. */
  result(data: object, text: readonly string[]): void
  /** One of many results: a line of text or of JSON. */
  line(data: object, text: string): void
  /** A line of information on stderr. */
  note(line: string): void
  /** The progress: a line that is rewritten on a terminal, otherwise a line at intervals, as JSON with `--json`. */
  progress(line: string, data?: object): void
}

export interface OutputOptions {
  isJson: boolean
  stdout: Pick<NodeJS.WriteStream, 'write'>
  stderr: Pick<NodeJS.WriteStream, 'write'> & { isTTY?: boolean; columns?: number }
  /** The time between two progress lines when stderr is not a terminal. */
  intervalMs?: number
}

// Escape sequences, line breaks and changes of text direction in a user's name could forge the output on a terminal.
const CONTROL = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu
const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

/** Escapes control characters as JSON does, so that the text stays on one line. */
export const printable = (text: string): string => text.replace(CONTROL, escaped)

// Line breaks between JSON's strings stay; JSON.stringify already escapes those inside strings.
const json = (data: object, indent?: number) =>
  JSON.stringify(data, null, indent).replace(CONTROL, (character) =>
    character === '\n' ? character : escaped(character),
  )

const CLEAR_LINE = '\r\x1b[2K'

export function createOutput({ isJson, stdout, stderr, intervalMs = 2_000 }: OutputOptions): Output {
  let nextAt = 0
  let isLineOpen = false

  function note(line: string): void {
    stderr.write(`${isLineOpen ? CLEAR_LINE : ''}${printable(line)}\n`)
    isLineOpen = false
  }

  return {
    isJson,
    note,
    progress(line, data) {
      if (stderr.isTTY && !isJson) {
        stderr.write(CLEAR_LINE + printable(line).slice(0, (stderr.columns || 80) - 1))
        isLineOpen = true
      } else if (performance.now() >= nextAt) {
        nextAt = performance.now() + intervalMs
        note(isJson && data ? json({ progress: data }) : line)
      }
    },
    line(data, text) {
      stdout.write(`${isJson ? json(data) : printable(text)}\n`)
    },
    result(data, text) {
      if (isLineOpen) stderr.write(CLEAR_LINE)
      isLineOpen = false
      stdout.write(isJson ? `${json(data, 2)}\n` : text.map((line) => `${printable(line)}\n`).join(''))
    },
  }
}

const BAR_WIDTH = 20

/** `████░░ 40 %  20,000 of 50,000`. */
export function bar(done: number, total: number): string {
  const share = total > 0 ? Math.min(1, done / total) : 0
  const full = Math.round(share * BAR_WIDTH)
  return `${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)} ${Math.floor(share * 100)} %  ${count(done)} of ${count(total)}`
}

export const count = (value: number): string => Math.round(value).toLocaleString('en-US')

/** `1 user`, `2,000 users`. */
export const countOf = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? '' : 's'}`

/** `1 h 2 min`, `3 min 4 s`, `5 s`. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole >= 3_600) return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`
  return whole >= 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole} s`
}

/** Rows with aligned columns. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length)
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] as number))
      .join('  ')
      .trimEnd(),
  )
}

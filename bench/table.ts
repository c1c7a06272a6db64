/** Figures as a table of Markdown, which reads well in a terminal too. */

/** Columns are aligned; the first is text. */
export function table(head: string[], rows: string[][]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)))
  const line = (cells: string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join(' | ')} |`
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(head), rule, ...rows.map(line)].join('\n')
}

/** With so many digits after the point; a dash where there is no figure. */
export function decimal(value: number | undefined, digits = 0): string {
  if (value === undefined || !Number.isFinite(value)) return '–'
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** Three digits that count. */
export function short(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '–'
  return decimal(value, value === 0 || value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3)
}

export const BAR_HEAD = ['bar', 'at least', 'is', '']

/** A goal and what was reached. */
export function toBarRow(name: string, bar: number, value: number): string[] {
  const isReached = value >= bar
  return [name, short(bar), short(value), isReached ? 'reached' : `missed by ${decimal((1 - value / bar) * 100)} %`]
}

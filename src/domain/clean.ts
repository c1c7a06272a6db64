/**
 * What PostgreSQL can store of what JSON can say. `text` and `jsonb` know no U+0000 and no lone surrogates, `numeric` has
 * bounds; everything else is kept to the letter, numbers beyond 2^53 included.
 */

// ES2025's JSON source text access: in Node since 21, not yet in TypeScript's libraries.
declare global {
  interface JSON {
    rawJSON(text: string): object
    isRawJSON(value: unknown): boolean
    parse(
      text: string,
      reviver: (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown,
    ): unknown
  }
}

/** A JSON object as Clerk's metadata are. */
export type JsonObject = Record<string, unknown>

// Far deeper than Clerk's 8 KB of metadata can sensibly nest, and far from the stack limits of PostgreSQL and V8.
const MAX_DEPTH = 500
// A number that would take more digits than this in PostgreSQL's `numeric` is kept as a string.
const MAX_DIGITS = 1000

/** The string without U+0000, lone surrogates replaced by U+FFFD. */
export function cleanText(text: string): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed()
  return wellFormed.includes('\0') ? wellFormed.replaceAll('\0', '') : wellFormed
}

/** A copy that `jsonb` accepts: texts cleaned, `__proto__` and `constructor` keys dropped, bottomless nesting cut off. */
export function cleanJson(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return cleanText(value)
  if (typeof value !== 'object' || value === null || JSON.isRawJSON(value)) return value
  if (depth >= MAX_DEPTH) return null
  if (Array.isArray(value)) return value.map((item) => cleanJson(item, depth + 1))
  const copy: JsonObject = {}
  for (const [name, item] of Object.entries(value)) {
    const key = cleanText(name)
    if (key === '__proto__' || key === 'constructor') continue
    copy[key] = cleanJson(item, depth + 1)
  }
  return copy
}

// At least 16 digits, or an exponent, where a number may stand: ids and URLs are full of digits before an e.
const UNUSUAL_NUMBER = /(?:^|[:,[\s])-?\d(?:[\d.]{15}|[\d.]*[eE])/

/**
 * Parses JSON and keeps numbers that a double cannot hold as they were written (`JSON.rawJSON`), so that they reach
 * `jsonb` and come back unchanged. Throws SyntaxError as JSON.parse does.
 */
export function parseJson(text: string): unknown {
  const parsed: unknown = JSON.parse(text)
  // The second, slower parse only where what looks like a number is long or has an exponent.
  if (!UNUSUAL_NUMBER.test(text)) return parsed
  try {
    return JSON.parse(text, (_key, value, { source }) =>
      typeof value === 'number' && source !== undefined ? faithfulNumber(value, source) : value,
    )
  } catch {
    return parsed // Revivers recurse: nesting that is cut off anyway has overflowed the stack.
  }
}

// What every double gives back as it was written: 15 significant digits (DBL_DIG), within the normal exponents.
const DOUBLE_DIGITS = 15
const MIN_NORMAL = 2.2250738585072014e-308

function faithfulNumber(value: number, source: string): unknown {
  const [mantissa = '', exponent = '0'] = source.toLowerCase().split('e')
  const digits = mantissa.replace(/^-?[0.]*/, '').replace('.', '')
  const isNormal = Number.isFinite(value) && Math.abs(value) >= MIN_NORMAL
  if (String(value) === source || digits === '' || (isNormal && digits.length <= DOUBLE_DIGITS)) return value
  return source.length + Math.abs(Number(exponent)) > MAX_DIGITS ? source : JSON.rawJSON(source)
}

/**
 * Removes what PostgreSQL cannot store from JSON: `text` and `jsonb` do not support U+0000 and lone surrogates, and `numeric` is
 * bounded. Everything else is preserved exactly, including numbers beyond 2^53.
 */

// ES2025's JSON source text access: in Node.js since 21, but not yet in TypeScript's libraries.
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

/** A JSON object, such as Clerk's metadata. */
export type JsonObject = Record<string, unknown>

// Deeper than sensible metadata, which Clerk limits to 8 KB, and far below the stack limits of PostgreSQL and V8.
const MAX_DEPTH = 500
// A number with more digits than this in PostgreSQL's `numeric` is stored as a string.
const MAX_DIGITS = 1000

/** The string without U+0000, lone surrogates replaced by U+FFFD. */
export function cleanText(text: string): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed()
  return wellFormed.includes('\0') ? wellFormed.replaceAll('\0', '') : wellFormed
}

/** A copy that `jsonb` accepts: texts are cleaned, `__proto__` and `constructor` keys dropped, and too deep nesting is cut off. */
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

// A number of 16 digits or more, or with an exponent. Only where a number can begin: ids and URLs often contain digits before an e.
const UNUSUAL_NUMBER = /(?:^|[:,[\s])-?\d(?:[\d.]{15}|[\d.]*[eE])/

/**
 * Parses JSON, and keeps the source text of numbers that a double cannot hold (`JSON.rawJSON`), so that they pass through `jsonb`
 * unchanged. Throws SyntaxError like JSON.parse.
 */
export function parseJson(text: string): unknown {
  const parsed: unknown = JSON.parse(text)
  // The second parse is slower, so it runs only if the text contains a long number or an exponent.
  if (!UNUSUAL_NUMBER.test(text)) return parsed
  try {
    return JSON.parse(text, (_key, value, { source }) =>
      typeof value === 'number' && source !== undefined ? faithfulNumber(value, source) : value,
    )
  } catch {
    return parsed // The reviver recurses, and overflowed the stack on nesting that will be cut off anyway.
  }
}

// Every double reproduces 15 significant digits (DBL_DIG) within the normal exponents.
const DOUBLE_DIGITS = 15
const MIN_NORMAL = 2.2250738585072014e-308

function faithfulNumber(value: number, source: string): unknown {
  const [mantissa = '', exponent = '0'] = source.toLowerCase().split('e')
  const digits = mantissa.replace(/^-?[0.]*/, '').replace('.', '')
  const isNormal = Number.isFinite(value) && Math.abs(value) >= MIN_NORMAL
  if (String(value) === source || digits === '' || (isNormal && digits.length <= DOUBLE_DIGITS)) return value
  return source.length + Math.abs(Number(exponent)) > MAX_DIGITS ? source : JSON.rawJSON(source)
}

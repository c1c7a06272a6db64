import { parameterInvalid } from './clerk-error.ts'

/** The parsed query of a URL: a repeated parameter is an array. */
export type Query = Record<string, string | string[] | undefined>

/** All values of a parameter that may be repeated. */
export const all = (value: string | string[] | undefined): string[] => [value ?? []].flat()

/** The value of a parameter that is not repeatable; of several values, one is used. */
export const first = (value: string | string[] | undefined): string | undefined => [value].flat()[0]

/** @throws ClerkError 422 unless the value is an integer within the bounds */
export function integer<T extends number | undefined>(
  query: Query,
  name: string,
  { min, max, fallback }: { min: number; max: number; fallback: T },
): number | T {
  const text = first(query[name])
  if (text === undefined) return fallback
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) throw parameterInvalid(name, text)
  return value
}

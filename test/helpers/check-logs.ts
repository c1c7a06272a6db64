/** Looks for what no log may hold. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'

export interface Leak {
  what: string
  line: string
}

export interface LogCheck {
  /** Test files and programs that wrote any. */
  writers: number
  lines: number
  forbidden: number
  leaks: Leak[]
}

// By their shape, whatever the test: these are nowhere in a log.
const SHAPES: Record<string, RegExp> = {
  // Not within an id such as `user_3MeyJ…`: Clerk's ids start with the time, which spells it for some hours.
  'a JSON Web Token': /(?<!_[0-9A-Za-z]{0,26})eyJ[\w-]{16,}/,
  'a bearer token': /Bearer\s+[\w.~+/-]{8,}/i,
  'a signing secret': /whsec_[A-Za-z0-9+/]{8,}/,
  'a secret key': /\bsk_(test|live)_\w{4,}/,
  'a signature': /\bv1,[A-Za-z0-9+/]{40,}=/,
  'a private or public key': /-----BEGIN/,
  // pg's connections have one, and its errors sometimes a whole connection.
  'a key that cancels queries': /\bsecretKey\b/,
  // But for the example in the message of a missing setting.
  'a password of PostgreSQL': /postgres(ql)?:\/\/(?!user:password@host)[^\s:@/]*:[^\s@/]+@/,
  'an email address': /[\w.+-]+(@|%40)[\w-]+(\.[\w-]+)+/i,
}
// A name that the logs also use as a word would look like a leak.
const LEAST_CHARACTERS = 3
const LEAST_OF_USERNAME = 6
const WORDS = /[\p{L}\p{N}][\p{L}\p{N}_'-]*/gu

/** @param forbidden secrets, and names of people: each word of them that looks like one */
export function findLeaks(text: string, forbidden: readonly string[]): Leak[] {
  const words = new Set(forbidden.flatMap((value) => value.match(WORDS) ?? []).filter(isName))
  const secrets = forbidden.filter((value) => value.length >= 12)
  const leaks: Leak[] = []
  for (const line of text.split('\n')) {
    for (const [what, shape] of Object.entries(SHAPES)) if (shape.test(line)) leaks.push({ what, line })
    const secret = secrets.find((value) => line.includes(value))
    if (secret !== undefined) leaks.push({ what: `the text ${secret}`, line })
    const word = line.match(WORDS)?.find((found) => words.has(found))
    if (word !== undefined) leaks.push({ what: `the name ${word}`, line })
  }
  return leaks
}

// Capital at the front, as names are and words of a log mostly are not; usernames are not, and count when they are long.
const isName = (word: string) =>
  (word.length >= LEAST_CHARACTERS && /^\p{Lu}\p{Ll}/u.test(word)) || word.length >= LEAST_OF_USERNAME

/** Every log of the run against what its own tests made known. */
export function checkLogs(directory: string): LogCheck {
  const check: LogCheck = { writers: 0, lines: 0, forbidden: 0, leaks: [] }
  const files = new Set(readdirSync(directory))
  for (const file of files) {
    if (!file.endsWith('.log')) continue
    const text = readFileSync(join(directory, file), 'utf8')
    const known = `${basename(file, '.log')}.forbidden`
    const forbidden: string[] = files.has(known)
      ? readFileSync(join(directory, known), 'utf8')
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line))
      : []
    check.writers += 1
    check.lines += text.split('\n').length - 1
    check.forbidden += forbidden.length
    check.leaks.push(...findLeaks(text, forbidden))
  }
  return check
}

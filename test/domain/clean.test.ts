import { test } from 'tap'
import { cleanJson, cleanText, parseJson } from '../../src/domain/clean.ts'

const roundTrip = (number: string) => JSON.stringify(cleanJson(parseJson(`{"n":[${number}]}`)))

test('text loses U+0000 and lone surrogates, and nothing else', async (t) => {
  t.equal(cleanText('a\0b\0'), 'ab')
  t.equal(cleanText('\ud800x\udc00'), '\ufffdx\ufffd')
  const kept = '👩‍👩‍👧 Zoë \u0001 \u2028 \uffff 𝒳'
  t.equal(cleanText(kept), kept)
})

test('JSON keeps every value, cleans texts and keys, and drops keys that are dangerous in JavaScript', async (t) => {
  const value = JSON.parse(
    '{"a\\u0000":["x\\u0000",1,true,null,{"constructor":{},"y":-0.5}],"__proto__":{"isAdmin":true},"toString":"z"}',
  )
  t.strictSame(cleanJson(value), { a: ['x', 1, true, null, { y: -0.5 }], toString: 'z' })
  t.equal(({} as { isAdmin?: boolean }).isAdmin, undefined)
})

test('nesting is cut off at 500 levels', async (t) => {
  const nested = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth))
  t.strictSame(cleanJson(nested(400)), nested(400))
  t.equal(JSON.stringify(cleanJson(nested(600))), `${'['.repeat(500)}null${']'.repeat(500)}`)
  t.equal(JSON.stringify(cleanJson(nested(100_000))), `${'['.repeat(500)}null${']'.repeat(500)}`)
})

test('numbers that a double cannot hold are kept as written', async (t) => {
  for (const number of [
    '9007199254740993',
    '-12345678901234567890',
    '9007199254740991.4',
    '1.00000000000000000001',
    '12345678.1234567891',
    '1234567890.1234567890',
    '1e400',
    '1e-400',
    '-2.5E+399',
    '5e-324',
    '0.1234567890123456789',
    `${'9'.repeat(999)}`,
  ]) {
    t.equal(roundTrip(number), `{"n":[${number}]}`)
  }
})

test('numbers that a double holds are plain numbers', async (t) => {
  for (const number of [
    '0',
    '-0',
    '0e5',
    '0.000',
    '1.50',
    '1e5',
    '1.7e12',
    '0.1',
    '1e300',
    '9007199254740991',
    '-1E-7',
  ]) {
    const [value] = parseJson(`[${number}]`) as unknown[]
    t.equal(value, Number(number), number)
  }
})

test('numbers beyond the bounds of numeric become text', async (t) => {
  for (const number of ['1e1000', '1e-999', '-1E+131073', '9'.repeat(1001), '1e99999999999999999999']) {
    t.equal(roundTrip(number), `{"n":["${number}"]}`)
  }
})

test('it parses what JSON.parse does, and throws what it throws', async (t) => {
  for (const text of ['{"__proto__":1e400}', '"1e5"', '[1,"2024-01-01T00:00:00.000Z"]', 'null']) {
    t.equal(JSON.stringify(parseJson(text)), text)
  }
  for (const text of ['', '{', '01', '[1e5', '{"a":12345678901234567890,}'])
    t.throws(() => parseJson(text), SyntaxError)
})

test('numbers within nesting that overflows the stack of a reviver are read all the same', async (t) => {
  const depth = 200_000
  let value = parseJson(`${'['.repeat(depth)}12345678901234567890${']'.repeat(depth)}`)
  for (let i = 0; i < depth; i += 1) value = (value as unknown[])[0]
  t.equal(value, 12345678901234567000)
})

import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { Webhook } from 'svix'
import { test } from 'tap'
import { createVerifier } from '../../../src/plugins/webhooks/verifier.ts'

interface SignedHeaders extends Record<string, string> {
  'svix-id': string
  'svix-timestamp': string
  'svix-signature': string
}

const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes, ok').toString('base64')}`
const svix = new Webhook(SECRET)

function svixAccepts(headers: SignedHeaders, body: Buffer): boolean {
  try {
    svix.verify(body, headers)
    return true
  } catch {
    return false
  }
}

function sign(id: string, seconds: number, body: Buffer): SignedHeaders {
  const signature = svix.sign(id, new Date(seconds * 1000), body)
  return { 'svix-id': id, 'svix-timestamp': String(seconds), 'svix-signature': signature }
}

const verify = createVerifier([SECRET])
function accepts(headers: SignedHeaders, body: Buffer): boolean {
  try {
    return Number.isInteger(verify(headers, body).sentAt)
  } catch (error) {
    if ((error as { code?: string }).code !== 'WEBHOOK_SIGNATURE_INVALID') throw error
    return false
  }
}

const now = () => Math.floor(Date.now() / 1000)
const bodies = fc.oneof(
  fc.json().map((json) => Buffer.from(json)),
  fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
)
const ids = fc.string({ minLength: 1 })

/** Ways to spoil a delivery, most of which must be refused, and some not. */
const spoilers: ((headers: SignedHeaders, body: Buffer, noise: string) => [SignedHeaders, Buffer])[] = [
  (headers, body) => [headers, body],
  (headers, body, noise) => [{ ...headers, 'svix-id': headers['svix-id'] + noise }, body],
  (headers, body, noise) => [{ ...headers, 'svix-timestamp': headers['svix-timestamp'] + noise }, body],
  (headers, body) => [{ ...headers, 'svix-timestamp': `0${headers['svix-timestamp']}` }, body],
  (headers, body) => [{ ...headers, 'svix-timestamp': ` ${headers['svix-timestamp']}` }, body],
  (headers, body, noise) => [{ ...headers, 'svix-signature': headers['svix-signature'] + noise }, body],
  (headers, body, noise) => [{ ...headers, 'svix-signature': `v1,${noise} ${headers['svix-signature']}` }, body],
  (headers, body, noise) => [{ ...headers, 'svix-signature': `${headers['svix-signature']} v2,${noise}` }, body],
  (headers, body, noise) => [{ ...headers, 'svix-signature': `${headers['svix-signature']},${noise}` }, body],
  (headers, body) => [{ ...headers, 'svix-signature': headers['svix-signature'].slice(3) }, body],
  (headers, body) => [{ ...headers, 'svix-signature': headers['svix-signature'].replace('v1', 'v2') }, body],
  (headers, body) => [{ ...headers, 'svix-signature': headers['svix-signature'].toLowerCase() }, body],
  (headers, body, noise) => [headers, Buffer.concat([body, Buffer.from(noise)])],
  (headers, body) => [headers, body.subarray(1)],
  (headers, body) => [headers, Buffer.concat([body, Buffer.from([0xff])])],
]

test('it accepts everything that Svix sends, and nothing that the svix library refuses', async (t) => {
  const seen = { accepted: 0, refused: 0 }
  fc.assert(
    fc.property(
      ids,
      bodies,
      fc.integer({ min: -400, max: 400 }),
      fc.nat({ max: spoilers.length - 1 }),
      fc.string({ minLength: 1, maxLength: 3 }),
      (id, body, offset, spoiler, noise) => {
        // A second may pass between the two verdicts.
        if (Math.abs(Math.abs(offset) - 300) <= 2) return
        const spoil = spoilers[spoiler] as (typeof spoilers)[number]
        const [headers, spoiled] = spoil(sign(id, now() + offset, body), body, noise)
        const verdict = accepts(headers, spoiled)
        seen[verdict ? 'accepted' : 'refused'] += 1
        if (verdict && !svixAccepts(headers, spoiled)) throw new Error('accepted what svix refuses')
        const isUsual = spoiler === 0 && Buffer.from(body.toString()).equals(body)
        if (isUsual && verdict !== svixAccepts(headers, spoiled)) throw new Error('refused what Svix sends')
      },
    ),
    { numRuns: 5_000 },
  )
  t.ok(seen.accepted > 100 && seen.refused > 100, `both happened: ${JSON.stringify(seen)}`)
})

test('only the raw bytes count: 0xff is not U+FFFD, unlike in the svix library', async (t) => {
  const headers = sign('msg_1', now(), Buffer.from('"\ufffd"'))
  t.ok(accepts(headers, Buffer.from('"\ufffd"')))
  const raw = Buffer.from([0x22, 0xff, 0x22])
  t.ok(svixAccepts(headers, raw))
  t.notOk(accepts(headers, raw))
})

test('a timestamp is accepted only in the format of Svix', async (t) => {
  const body = Buffer.from('{}')
  const headers = sign('msg_1', now(), body)
  for (const timestamp of [`0${now()}`, `${now()}x`, `${now()}.5`, ` ${now()}`, '1e9', '-1', 'NaN']) {
    t.notOk(accepts({ ...headers, 'svix-timestamp': timestamp }, body), timestamp)
  }
})

test('several signatures are accepted during a rotation, but not too many', async (t) => {
  const body = Buffer.from('{}')
  const headers = sign('msg_1', now(), body)
  const other = `v1,${createHmac('sha256', 'another').update('x').digest('base64')}`
  const among = (count: number) => ({
    ...headers,
    'svix-signature': [...Array(count).fill(other), headers['svix-signature']].join(' '),
  })
  t.ok(accepts(among(1), body))
  t.ok(accepts(among(19), body))
  t.notOk(accepts(among(1_200), body))
})

test('a delivery that cannot be valid is refused before the body is hashed', async (t) => {
  let reads = 0
  // Whoever hashes a Buffer asks for its length.
  const body = new Proxy(Buffer.from('{}'), {
    get(target, name) {
      reads += 1
      return Reflect.get(target, name, target)
    },
  })
  const headers = sign('msg_1', now(), Buffer.from('{}'))
  const hopeless: Partial<SignedHeaders>[] = [
    { 'svix-signature': 'v1,'.padEnd(60_000, 'A') },
    { 'svix-signature': `v2,${headers['svix-signature'].slice(3)}` },
    { 'svix-signature': 'v1,short' },
    { 'svix-id': 'm'.repeat(256) },
    { 'svix-timestamp': String(now() - 400) },
  ]
  for (const part of hopeless) t.notOk(accepts({ ...headers, ...part } as SignedHeaders, body))
  t.equal(reads, 0)
})

test('a missing or guessable secret is an error at the start, not a key that anybody has', async (t) => {
  for (const secrets of [[], [''], ['whsec_'], [SECRET, ''], ['whsec_c2hvcnQ=']]) {
    t.throws(
      () => createVerifier(secrets),
      /signingSecrets: expected whsec_ .* at least 16 bytes \(CLERK_WEBHOOK_SIGNING_SECRET/,
    )
  }
})

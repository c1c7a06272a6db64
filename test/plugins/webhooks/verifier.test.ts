import fc from 'fast-check'
import { Webhook } from 'svix'
import { test } from 'tap'
import { createNativeCheck, createVerifier, type SignedHeaders } from '../../../src/plugins/webhooks/verifier.ts'

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

const now = () => Math.floor(Date.now() / 1000)
const bodies = fc.oneof(
  fc.json().map((json) => Buffer.from(json)),
  fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
)
const ids = fc.string({ minLength: 1 })

/** Ways to spoil a delivery, most of which must be refused, and some not: svix decides. */
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

test('the native check accepts nothing that svix refuses, and all that is usual', async (t) => {
  const native = createNativeCheck(SECRET)
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
        const verdict = native(headers, spoiled)
        seen[verdict ? 'accepted' : 'refused'] += 1
        if (verdict && !svixAccepts(headers, spoiled)) throw new Error('accepted what svix refuses')
        const isUsual = spoiler === 0 && Buffer.from(body.toString()).equals(body)
        if (isUsual && verdict !== svixAccepts(headers, spoiled)) throw new Error('left the usual to svix')
      },
    ),
    { numRuns: 5_000 },
  )
  t.ok(seen.accepted > 100 && seen.refused > 100, `both happened: ${JSON.stringify(seen)}`)
})

test('together they accept exactly what svix accepts', async (t) => {
  const verify = createVerifier([SECRET])
  fc.assert(
    fc.property(
      ids,
      bodies,
      fc.nat({ max: spoilers.length - 1 }),
      fc.string({ minLength: 1 }),
      (id, body, spoiler, noise) => {
        const spoil = spoilers[spoiler] as (typeof spoilers)[number]
        const [headers, spoiled] = spoil(sign(id, now(), body), body, noise)
        let isAccepted = true
        try {
          const { sentAt } = verify(headers, spoiled)
          if (!Number.isInteger(sentAt)) throw new Error('not a time')
        } catch (error) {
          if ((error as { code?: string }).code !== 'WEBHOOK_SIGNATURE_INVALID') throw error
          isAccepted = false
        }
        if (isAccepted !== svixAccepts(headers, spoiled)) throw new Error(`verdict ${isAccepted}, svix differs`)
      },
    ),
    { numRuns: 3_000 },
  )
  t.pass('over 3,000 deliveries')
})

/** What a forged webhook costs, beside one native HMAC over its body: `node bench/forged.ts`. The limit is twice as much. */
import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { createVerifier } from '../src/plugins/webhooks/verifier.ts'

const MIB = 1_048_576
const ROUNDS = 15
const TIMES = 20

const key = randomBytes(32)
const verify = createVerifier([`whsec_${key.toString('base64')}`])
const secret = createSecretKey(key)
const good = `v1,${'A'.repeat(43)}=`

const forged: [name: string, headers: IncomingHttpHeaders, body: Buffer][] = [
  ['one signature', { 'svix-signature': good }, Buffer.alloc(MIB, '[')],
  ['twenty signatures', { 'svix-signature': Array(20).fill(good).join(' ') }, Buffer.alloc(MIB, '[')],
  ['a signature header of 60 KB', { 'svix-signature': `${good} `.repeat(1_200) }, Buffer.alloc(MIB, '[')],
  ['1 MiB of 0xff', { 'svix-signature': good }, Buffer.alloc(MIB, 0xff)],
  ['1 MiB of two-byte characters', { 'svix-signature': good }, Buffer.from('ü'.repeat(MIB / 2))],
  ['a timestamp that svix reads otherwise', { 'svix-signature': good, 'svix-timestamp': '0123' }, Buffer.alloc(MIB)],
]

function cpuUs(run: () => unknown): number {
  const before = process.cpuUsage()
  for (let i = 0; i < TIMES; i += 1) run()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / TIMES
}
const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number

console.log('| forged | CPU, × one native HMAC over the body |\n|---|---|')
for (const [name, extra, body] of forged) {
  const ratios: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const headers = { 'svix-id': 'msg_1', 'svix-timestamp': String(Math.floor(Date.now() / 1_000)), ...extra }
    const hmac = cpuUs(() => createHmac('sha256', secret).update(body).digest())
    const refuse = () => {
      try {
        verify(headers, body)
      } catch {
        return
      }
      throw new Error(`${name} was taken for good`)
    }
    ratios.push(cpuUs(refuse) / hmac)
  }
  console.log(`| ${name} | ${median(ratios).toFixed(2)} |`)
}

/** Session tokens of the bench's users, signed on every core and kept on disk by their key. */
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Issuer } from './issuer.ts'
import type { SigningOrder } from './token-worker.ts'

export const AUTHORIZED_PARTY = 'https://app.bench.example'

/** A token of each user, by number. Takes a second for about 2,000 that are not kept yet. */
export async function signTokens(issuer: Issuer, numbers: Iterable<number>): Promise<Map<number, string>> {
  const file = issuer.cacheDirectory && join(issuer.cacheDirectory, `tokens-${issuer.kid}-${recipeOfTokens()}.txt`)
  const tokens = file && existsSync(file) ? readKept(file) : new Map<number, string>()
  const missing = [...new Set(numbers)].filter((number) => !tokens.has(number))
  if (missing.length === 0) return tokens
  const signed = await signAll(issuer, missing)
  for (const [number, token] of signed) tokens.set(number, token)
  if (file) appendFileSync(file, signed.map(([number, token]) => `${number} ${token}\n`).join(''), { mode: 0o600 })
  return tokens
}

// Tokens that were made by other rules are of no use.
function recipeOfTokens(): string {
  const hash = createHash('sha256')
  for (const file of ['token-worker.ts', 'bench-user.ts']) hash.update(readFileSync(new URL(file, import.meta.url)))
  return hash.digest('hex').slice(0, 12)
}

function readKept(file: string): Map<number, string> {
  const lines = readFileSync(file, 'latin1').split('\n')
  lines.pop() // Nothing, or a line that was cut off.
  return new Map(lines.map((line) => line.split(' ') as [string, string]).map(([n, token]) => [Number(n), token]))
}

async function signAll(issuer: Issuer, numbers: number[]): Promise<[number, string][]> {
  const workers = Math.min(availableParallelism(), Math.ceil(numbers.length / 100))
  const share = Math.ceil(numbers.length / workers)
  const parts = Array.from({ length: workers }, (_, index) => numbers.slice(index * share, (index + 1) * share))
  return (await Promise.all(parts.map((part) => signInWorker(issuer, part)))).flat()
}

function signInWorker(issuer: Issuer, numbers: number[]): Promise<[number, string][]> {
  const { url, kid, privateKey } = issuer
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const order: SigningOrder = { issuer: url, kid, pem, authorizedParty: AUTHORIZED_PARTY, numbers }
  return new Promise((resolve, reject) => {
    new Worker(new URL('token-worker.ts', import.meta.url), { workerData: order })
      .once('message', resolve)
      .once('error', reject)
  })
}

/**
 * The issuer of the bench: one signing key, kept in the temporary directory so that tens of thousands of signatures are made
 * once, and the JWKS endpoint that vouches for it.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'

const MAX_AGE_MS = 20 * 86_400_000

export interface Issuer {
  url: string
  kid: string
  privateKey: KeyObject
  /** PEM, as the dashboard shows it. */
  publicKey: string
  /** The answer of its JWKS endpoint. */
  jwks: string
  /** Where its tokens are kept; missing while another bench uses the kept key. */
  cacheDirectory?: string
  close(): void
}

interface KeptKey {
  kid: string
  pem: string
  port: number
  createdAt: number
}

export async function startIssuer(): Promise<Issuer> {
  const directory = join(tmpdir(), `clerk-session-sync-bench-${userInfo().uid}`)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const file = join(directory, 'key.json')
  const kept = readKept(file)
  // The port is part of the issuer, and so of every token.
  const onKeptPort = kept && (await listen(kept.port).catch(() => undefined))
  if (kept && onKeptPort) return issue(onKeptPort, kept, directory)

  const server = await listen(0)
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const fresh: KeptKey = {
    kid: `ins_2bench${Date.now()}`,
    pem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    port: (server.address() as { port: number }).port,
    createdAt: Date.now(),
  }
  if (kept) return issue(server, fresh)
  writeFileSync(file, JSON.stringify(fresh), { mode: 0o600 })
  return issue(server, fresh, directory)
}

function issue(server: Server, { kid, pem, port }: KeptKey, cacheDirectory?: string): Issuer {
  const privateKey = createPrivateKey(pem)
  const publicKey = createPublicKey(privateKey)
  const jwks = JSON.stringify({ keys: [{ use: 'sig', alg: 'RS256', kid, ...publicKey.export({ format: 'jwk' }) }] })
  server.on('request', (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(jwks)
  })
  return {
    url: `http://127.0.0.1:${port}`,
    kid,
    privateKey,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    jwks,
    cacheDirectory,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function readKept(file: string): KeptKey | undefined {
  try {
    const kept: KeptKey = JSON.parse(readFileSync(file, 'utf8'))
    return Date.now() - kept.createdAt < MAX_AGE_MS ? kept : undefined
  } catch {
    return undefined
  }
}

async function listen(port: number): Promise<Server> {
  const server = createServer()
  await new Promise<void>((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done))
  return server
}

/** Explains claim by claim why the service accepts or refuses a token. The token itself is never shown. */
import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto'
import type { Config } from '../../config.ts'
import { type JsonObject, parseJson } from '../../domain/clean.ts'
import { CLOCK_TOLERANCE_SECONDS, claimsFault, headerFault, type TokenRules } from '../../domain/session-token.ts'
import { isFinal } from '../../resources/session/change.ts'
import { type Context, withDatabase } from '../context.ts'
import { type Check, fail, pass, reasonOf, warn } from './check.ts'
import { fetchKeys } from './clerk.ts'

const GET_ANOTHER = 'get a fresh token from Clerk: getToken()'

// Remedies for faults that another token would have too, because a setting does not fit.
const REMEDIES: Record<string, (value: unknown) => string | undefined> = {
  iss: (value) =>
    value === undefined
      ? undefined
      : `if ${show(value)} is your Clerk instance, set CLERK_ISSUER to it; otherwise the token belongs to another app`,
  azp: (value) =>
    value === undefined
      ? 'the client sends no Origin header: CLERK_AZP_OPTIONAL=true accepts its bearer tokens'
      : `if ${show(value)} is one of your front ends, add it to CLERK_AUTHORIZED_PARTIES`,
  cat: () => 'send a session token: getToken() without a template; or set CLERK_JWT_TEMPLATES=true',
}

/** Extracts the token from pasted text: drops the header name, quotes and line breaks of a terminal. */
const bareToken = (text: string) =>
  text
    .replaceAll(/["'\s]+/g, ' ')
    .trim()
    .replace(/^(authorization: ?)?(bearer )?/i, '')
    .replaceAll(' ', '')

/** One check for each claim, or a single one if the token cannot be parsed. */
export async function explainToken(context: Context, token: string, hasDatabase: boolean): Promise<Check[]> {
  const parts = bareToken(token).split('.')
  let header: JsonObject
  let claims: JsonObject
  try {
    const [first, second] = parts.slice(0, 2).map((part) => parseJson(Buffer.from(part, 'base64url').toString('utf8')))
    header = { ...(first as JsonObject) }
    claims = { ...(second as JsonObject) }
  } catch {
    return [fail('token', 'not three parts of base64url with JSON inside', GET_ANOTHER)]
  }
  const rules: TokenRules = {
    issuer: context.config.CLERK_ISSUER as string,
    authorizedParties: context.config.CLERK_AUTHORIZED_PARTIES,
    isAzpOptional: context.config.CLERK_AZP_OPTIONAL,
    allowsJwtTemplates: context.config.CLERK_JWT_TEMPLATES,
  }
  const nowSeconds = Date.now() / 1_000
  return [
    ...explainHeader(header, rules),
    await explainSignature(context.config, parts, header.kid),
    ...explainClaims(claims, rules, nowSeconds),
    ...explainTimes(claims, nowSeconds),
    ...(hasDatabase && typeof claims.sub === 'string' ? await explainState(context, claims) : []),
  ]
}

// Puts each header field alone into an otherwise valid token, so that the service's own rules judge it.
function explainHeader(header: JsonObject, rules: TokenRules): Check[] {
  return ['alg', 'typ', 'cat', 'crit', 'b64'].flatMap((name) => {
    if (!(name in header) && name !== 'alg') return []
    const fault = headerFault({ alg: 'RS256', ...pick(header, name) }, rules)
    const isMissing = name === 'alg' && !(name in header)
    return line(`header ${name}`, show(header[name]), isMissing ? 'missing' : fault, REMEDIES[name]?.(header[name]))
  })
}

function explainClaims(claims: JsonObject, rules: TokenRules, nowSeconds: number): Check[] {
  const good = { iss: rules.issuer, sub: 'user_1', exp: nowSeconds + 60, azp: rules.authorizedParties[0] }
  return ['iss', 'azp', 'sub', 'sid', 'iat', 'exp', 'nbf'].flatMap((name) => {
    if (!(name in claims) && !(name in good)) return []
    const { [name as keyof typeof good]: _, ...others } = good
    const fault = claimsFault({ ...others, ...pick(claims, name) }, rules, { isCookie: false, nowSeconds })
    return line(`claim ${name}`, show(claims[name]), fault, REMEDIES[name]?.(claims[name]))
  })
}

function explainTimes({ exp, nbf, sts }: JsonObject, nowSeconds: number): Check[] {
  const checks: Check[] = []
  if (typeof exp === 'number' && exp + CLOCK_TOLERANCE_SECONDS <= nowSeconds) {
    checks.push(fail('expired', `${Math.floor(nowSeconds - exp)} s ago (401 TOKEN_EXPIRED)`, GET_ANOTHER))
  }
  if (typeof nbf === 'number' && nbf - CLOCK_TOLERANCE_SECONDS > nowSeconds) {
    checks.push(fail('not yet valid', `for ${Math.ceil(nbf - nowSeconds)} s`, 'check the clock of this host'))
  }
  if (sts === 'pending') {
    checks.push(fail('claim sts', 'pending (403 SESSION_PENDING)', "the user must finish a session task of Clerk's"))
  }
  return checks
}

async function explainSignature(config: Config, parts: string[], kid: unknown): Promise<Check> {
  try {
    const key = await findKey(config, kid)
    if (!key)
      return fail(
        'header kid',
        'not a key of the issuer',
        'check that the token belongs to this instance: compare CLERK_ISSUER with its iss claim',
      )
    const [header, payload, signature = ''] = parts
    const isGood = verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'))
    return isGood && parts.length === 3
      ? pass('signature', 'made with a key of the issuer')
      : fail(
          'signature',
          'not made with the key that the header names',
          'check that the token is complete and belongs to this instance',
        )
  } catch (error) {
    return warn(
      'signature',
      `not checked: ${reasonOf(error)}`,
      'check CLERK_ISSUER and outgoing connections of this host',
    )
  }
}

async function findKey({ CLERK_JWT_KEY, CLERK_ISSUER }: Config, kid: unknown): Promise<KeyObject | undefined> {
  if (CLERK_JWT_KEY) return createPublicKey(CLERK_JWT_KEY)
  const { keys } = await fetchKeys(CLERK_ISSUER as string)
  const jwk = keys.find((key) => kid !== undefined && key.kid === kid)
  return jwk && createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
}

/** What the tables hold about the user and the session, in the order in which the service checks it. */
async function explainState(context: Context, { sub, sid }: JsonObject): Promise<Check[]> {
  const sessionId = typeof sid === 'string' ? sid : null
  const state = await withDatabase(context, ({ repository }) =>
    repository.findAuthState({ userId: sub as string, sessionId }),
  )
  if (state.isDeleted) {
    const remedy = state.isInferred
      ? "Clerk's API did not know the user: clerk-session-sync sync <id> asks again"
      : 'none: a deleted user stays deleted'
    return [fail('user', 'deleted (403 USER_DELETED)', remedy)]
  }
  if (state.isBanned) return [fail('user', 'banned (403 USER_BANNED)', 'unban the user in the Clerk Dashboard')]
  if (state.isDeprovisioned) {
    return [
      fail('user', 'deprovisioned (403 USER_DEPROVISIONED)', "restore the user in their organization's directory"),
    ]
  }
  const user = state.user
    ? pass('user', 'has a row')
    : warn('user', 'has no row yet', 'the first call syncs it, or run clerk-session-sync sync <id>')
  const isOver = state.sessionStatus !== undefined && isFinal(state.sessionStatus)
  const status = state.sessionStatus ?? 'no event about it yet, which is accepted'
  return [user, isOver ? fail('session', `${status} (401 SESSION_REVOKED)`, 'sign in again') : pass('session', status)]
}

const pick = (object: JsonObject, name: string) => (name in object ? { [name]: object[name] } : {})
const show = (value: unknown) => (value === undefined ? 'missing' : JSON.stringify(value))
const line = (name: string, value: string, fault: string | undefined, remedy = GET_ANOTHER): Check =>
  fault ? fail(name, `${value}: ${fault}`, remedy) : pass(name, value)

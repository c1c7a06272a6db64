import { createHash, timingSafeEqual } from 'node:crypto'

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Makes the check of an `Authorization` header against a fixed bearer token. */
export function createTokenCheck(token: string): (authorization: string | undefined) => 'good' | 'missing' | 'wrong' {
  const expected = digest(token)
  return (authorization = '') => {
    const [, sent] = /^Bearer (.+)$/i.exec(authorization) ?? []
    if (sent === undefined) return 'missing'
    // Compares digests in constant time, so that timing reveals neither the token nor its length.
    return timingSafeEqual(digest(sent), expected) ? 'good' : 'wrong'
  }
}

/** Whose token it is. The client only compares this; the service verifies the token. */

export interface Identity {
  /** Clerk's id of the user. */
  sub?: string
  /** Clerk's id of the session; some tokens have none. */
  sid?: string
  /** Clerk's id of the active organization. */
  org?: string
  /** The session, whatever organization is active in it. */
  session: string
  /** The session and its active organization: what a call belongs to. */
  key: string
}

/** A token that cannot be read is an identity of its own, so that two of them share nothing. */
export function identityOf(token: string): Identity {
  try {
    // Bytes are taken for characters: no id has any beyond ASCII.
    const payload = atob((token.split('.')[1] as string).replace(/-/g, '+').replace(/_/g, '/'))
    // The active organization stands in `org_id` in version 1 of Clerk's claims, and in `o` in version 2.
    const { sub, sid, org_id, o } = JSON.parse(payload)
    const org = o?.id ?? org_id
    const session = sub || sid ? `${sub} ${sid}` : token
    return { sub, sid, org, session, key: `${session} ${org}` }
  } catch {
    return { session: token, key: token }
  }
}

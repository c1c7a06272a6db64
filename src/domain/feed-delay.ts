/** A transaction, of whoever in whatever database of the server, that keeps later changes from being read. */
export interface DelayingTransaction {
  /** Null for one that is prepared (two-phase commit). */
  pid: number | null
  /** The id of a prepared transaction. */
  prepared: string | null
  /** For how long it has been open; null where the role may not see it. */
  ageSeconds: number | null
}

/** What delays the feed and how to end it. */
export function describeDelay({ pid, prepared, ageSeconds }: DelayingTransaction): { what: string; remedy: string } {
  const age = ageSeconds === null ? '' : `, open for ${Math.round(ageSeconds)} s,`
  return prepared === null
    ? {
        what: `a transaction of process ${pid}${age} delays the change feed`,
        remedy: `end it where it was begun, or by select pg_terminate_backend(${pid})`,
      }
    : {
        what: `the prepared transaction '${prepared}'${age} delays the change feed`,
        remedy: `commit prepared or rollback prepared '${prepared}'`,
      }
}

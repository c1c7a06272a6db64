/** An open transaction, in any database of the server, that keeps later changes from being read. */
export interface DelayingTransaction {
  /** Null for a prepared transaction (two-phase commit). */
  pid: number | null
  /** The id of a prepared transaction. */
  prepared: string | null
  /** How long it has been open; null if the role may not see it. */
  ageSeconds: number | null
}

/** Describes tables without the triggers of the feed, and the remedy. */
export const describeUnrecorded = (tables: readonly string[]) => ({
  what: `changes are not recorded, because these tables have no triggers of the feed: ${tables.join(', ')}`,
  remedy: 'restart a replica with CHANGES=true, or run CHANGES=true clerk-session-sync migrate',
})

/** Describes what delays the feed, and the remedy. */
export function describeDelay({ pid, prepared, ageSeconds }: DelayingTransaction): { what: string; remedy: string } {
  const age = ageSeconds === null ? '' : `, open for ${Math.round(ageSeconds)} s,`
  return prepared === null
    ? {
        what: `a transaction of process ${pid}${age} delays the change feed`,
        remedy: `end it in the program that began it, or with select pg_terminate_backend(${pid})`,
      }
    : {
        what: `the prepared transaction '${prepared}'${age} delays the change feed`,
        remedy: `commit prepared or rollback prepared '${prepared}'`,
      }
}

/** How many deletions may be inferred at once: a secret key of another instance would delete everybody. */

const MIN_DELETIONS = 50
const MAX_DELETED_SHARE = 0.1
// So many that are gone, and not one known to Clerk: it is another instance.
const FEW = 10

/**
 * The most deletions that are believed: 50 or a tenth of the living, whichever is more; 10 where Clerk named nobody we know.
 * @param known how many users that Clerk named are here
 */
export const deletionLimit = (living: number, known: number): number =>
  known === 0 ? FEW : Math.max(MIN_DELETIONS, living * MAX_DELETED_SHARE)

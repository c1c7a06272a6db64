/** How many deletions may be inferred at once: a secret key of another instance would delete everybody. */

const MIN_DELETIONS = 50
const MAX_DELETED_SHARE = 0.1
// So many that are gone, and not one known to Clerk: it is another instance.
const FEW = 10

/**
 * The most deletions that are believed: 50 or a tenth of the living, whichever is more; 10 where Clerk named none that we know.
 * @param isAnyKnown whether Clerk named at least one that is here
 */
export const deletionLimit = (living: number, isAnyKnown = true): number =>
  isAnyKnown ? Math.max(MIN_DELETIONS, living * MAX_DELETED_SHARE) : FEW

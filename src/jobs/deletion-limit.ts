/** Limits inferred deletions, because a secret key of another instance would otherwise delete all users. */

const MIN_DELETIONS = 50
const MAX_DELETED_SHARE = 0.1
// If Clerk does not know a single one of the users, it is probably another instance.
const FEW = 10

/**
 * The largest plausible number of deletions: 50 or a tenth of the living, whichever is more; 10 if Clerk named none that is here.
 * @param isAnyKnown whether at least one object that Clerk named has a row
 */
export const deletionLimit = (living: number, isAnyKnown = true): number =>
  isAnyKnown ? Math.max(MIN_DELETIONS, living * MAX_DELETED_SHARE) : FEW

/**
 * Versions ensure that every order of arrival ends in the same state. Snapshots are ordered by Clerk's `updated_at` and, between
 * equals, by the timestamp of the event's envelope. All times are whole milliseconds since 1970.
 */

/** The version of a snapshot. The Backend API has no envelope, so its `eventAt` is null and counts as older. */
export interface Version {
  updatedAt: number
  eventAt: number | null
}

const SECONDS_BELOW = 1e11

/** Clerk's time in milliseconds. Some payloads carry seconds: values below 10^11 (the year 5138 in seconds) are taken as seconds. */
export function toMilliseconds(time: number): number {
  return Math.trunc(time < SECONDS_BELOW ? time * 1000 : time)
}

/** Whether `a` is strictly newer than `b`. */
export function isNewer(a: Version, b: Version): boolean {
  if (a.updatedAt !== b.updatedAt) return a.updatedAt > b.updatedAt
  return (a.eventAt ?? -Infinity) > (b.eventAt ?? -Infinity)
}

/** One item per id: the newest by `isNewerItem`, or the last among equals. */
export function newestById<T extends { id: string }>(items: Iterable<T>, isNewerItem: (a: T, b: T) => boolean): T[] {
  const newest = new Map<string, T>()
  for (const item of items) {
    const known = newest.get(item.id)
    if (!known || !isNewerItem(known, item)) newest.set(item.id, item)
  }
  return [...newest.values()]
}

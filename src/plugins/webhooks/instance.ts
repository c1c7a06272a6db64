import type { FastifyInstance } from 'fastify'

const FRESH_MS = 30_000

/**
 * Makes the lookup of the database's Clerk instance. It is read again at intervals, because another replica may set it first and
 * `migrate --adopt-instance` may change it. Rejects with `DatabaseUnavailable`: an event that cannot be compared must wait.
 */
export function createInstanceLookup({ clerkRepository }: Pick<FastifyInstance, 'clerkRepository'>) {
  let known: string | undefined
  let freshUntil = Number.NEGATIVE_INFINITY
  let underWay: Promise<void> | undefined

  async function refresh(): Promise<void> {
    try {
      known = await clerkRepository.instanceId()
      freshUntil = performance.now() + FRESH_MS
    } finally {
      underWay = undefined
    }
  }

  return async (): Promise<string | undefined> => {
    if (performance.now() >= freshUntil) {
      underWay ??= refresh()
      await underWay
    }
    return known
  }
}

/** Limits concurrent database work, so that lanes queue here and do not run into the pool's connection timeout. */
export type Turns = <T>(work: () => Promise<T>) => Promise<T>

/** Runs at most `atOnce` functions at a time, in order; a failure does not affect the others. */
export function createTurns(atOnce: number): Turns {
  const waiting: (() => void)[] = []
  let underWay = 0
  return async (work) => {
    if (underWay >= atOnce) await new Promise<void>((begin) => waiting.push(begin))
    else underWay += 1
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else underWay -= 1
    }
  }
}

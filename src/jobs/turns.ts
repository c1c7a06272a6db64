/** Work on the database that takes turns, so that lanes never wait so long for a connection that it counts as trouble. */
export type Turns = <T>(work: () => Promise<T>) => Promise<T>

/** Runs so many at once, each as its turn comes; one that fails holds up no other. */
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

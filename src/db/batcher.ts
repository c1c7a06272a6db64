/**
 * Group commit, for reads as well as writes: calls that wait at the same moment share a batch, and the next batch gathers
 * while the present one is under way. Nothing is cached: an answer is never older than the call.
 */
import { batchTracing, callChannel } from './channels.ts'

export interface BatcherOptions<Item, Result> {
  /** What its batches are called in traces. */
  name?: string
  /** Handles a batch; one result an item, in their order. The next batch does not wait for a result that is a promise. */
  run: (items: Item[]) => Promise<(Result | Promise<Result>)[]>
  /** Batches under way at once. */
  maxConcurrent: number
  /** Items in a batch at most. */
  maxBatchSize: number
  /**
   * Batches of more items than this hold no more than their share of the calls present, so that all that may be under way
   * are: answers go out while the database works. `maxBatchSize` by default.
   */
  minShare?: number
  /** Items that wait at most; one more is refused. */
  maxWaiting: number
  /** Weight of an item, such as its bytes; 0 by default. */
  weightOf?: (item: Item) => number
  /** Weight of a batch at most; an item that is heavier goes alone. */
  maxBatchWeight?: number
  /** Weight of the items that wait, together; one that would pass it is refused. */
  maxWaitingWeight?: number
  /** Whether what failed a batch would fail those that wait too, such as a server that does not answer. */
  failsAll: (error: unknown) => boolean
  /** What a call is refused with when too many wait. */
  overloaded: () => Error
}

interface Call<Item, Result> {
  item: Item
  weight: number
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

/**
 * Makes a function that handles one item by way of batches. It rejects with what `run` rejects with. Where that
 * would fail those that wait too, they are rejected at once: they would only wait for the same trouble one after the other.
 */
export function createBatcher<Item, Result>(options: BatcherOptions<Item, Result>): (item: Item) => Promise<Result> {
  const {
    name = 'batch',
    run,
    maxConcurrent,
    maxBatchSize,
    minShare = maxBatchSize,
    maxWaiting,
    weightOf = () => 0,
    maxBatchWeight = Infinity,
    maxWaitingWeight = Infinity,
    failsAll,
    overloaded,
  } = options
  let waiting: Call<Item, Result>[] = []
  let waitingWeight = 0
  let underWay = 0
  let itemsUnderWay = 0
  let isScheduled = false

  function takeBatch(): Call<Item, Result>[] {
    const share = Math.ceil((waiting.length + itemsUnderWay) / maxConcurrent)
    const most = Math.min(maxBatchSize, waiting.length, Math.max(minShare, share))
    let size = 0
    let weight = 0
    while (size < most) {
      const { weight: added } = waiting[size] as Call<Item, Result>
      if (size > 0 && weight + added > maxBatchWeight) break
      weight += added
      size += 1
    }
    const batch = waiting.slice(0, size)
    waiting = waiting.slice(size)
    waitingWeight -= weight
    return batch
  }

  async function flush(batch: Call<Item, Result>[]): Promise<void> {
    underWay += 1
    itemsUnderWay += batch.length
    try {
      const items = batch.map(({ item }) => item)
      const results = await batchTracing.tracePromise(run, { name, calls: batch }, undefined, items)
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result)
    } catch (error) {
      for (const { reject } of batch) reject(error)
      if (failsAll(error)) {
        const others = waiting
        waiting = []
        waitingWeight = 0
        for (const { reject } of others) reject(error)
      }
    } finally {
      underWay -= 1
      itemsUnderWay -= batch.length
      flushWaiting()
    }
  }

  function flushWaiting(): void {
    isScheduled = false
    while (waiting.length > 0 && underWay < maxConcurrent) void flush(takeBatch())
  }

  return (item) => {
    const weight = weightOf(item)
    if (waiting.length >= maxWaiting || waitingWeight + weight > maxWaitingWeight) return Promise.reject(overloaded())
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const call = { item, weight, resolve, reject }
    if (callChannel.hasSubscribers) callChannel.publish(call)
    waiting.push(call)
    waitingWeight += weight
    // After the requests that have arrived by now, so that they share the batch; a lone one waits for nothing.
    if (!isScheduled && underWay < maxConcurrent) {
      isScheduled = true
      setImmediate(flushWaiting)
    }
    return promise
  }
}

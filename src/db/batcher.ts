/**
 * Group commit, for reads as well as writes: calls that wait at the same time share a batch, and the next batch collects calls while
 * the current one runs. Nothing is cached: a result is never older than its call.
 */
import { batchTracing, callChannel } from './channels.ts'

export interface BatcherOptions<Item, Result> {
  /** The name of its batches in traces. */
  name?: string
  /** Handles a batch, and returns one result per item, in order. The next batch does not wait for a result that is a promise. */
  run: (items: Item[]) => Promise<(Result | Promise<Result>)[]>
  /** The largest number of concurrent batches. */
  maxConcurrent: number
  /** The largest number of items in a batch. */
  maxBatchSize: number
  /**
   * A batch takes this many items if they wait. It takes more only up to its share of all items, waiting and running, so that
   * all allowed batches run: replies are then sent while the database works. `maxBatchSize` by default.
   */
  minShare?: number
  /** The largest number of waiting items; another one is refused. */
  maxWaiting: number
  /** The weight of an item, such as its bytes; 0 by default. */
  weightOf?: (item: Item) => number
  /** The largest weight of a batch; a heavier item has a batch of its own. */
  maxBatchWeight?: number
  /** The largest total weight of waiting items; an item that would exceed it is refused. */
  maxWaitingWeight?: number
  /** Whether the error of a batch would affect the waiting items too, for example because the server does not answer. */
  failsAll: (error: unknown) => boolean
  /** Makes the error with which a call is refused if too many wait. */
  overloaded: () => Error
}

interface Call<Item, Result> {
  item: Item
  weight: number
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

/**
 * Makes the function that handles one item as part of a batch. It rejects with the error of `run`. If that error would affect the
 * waiting items too (`failsAll`), they are rejected at once, so that batch after batch need not fail in the same way.
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
    // Starts the batch after the requests that have already arrived, so that they share it. A single request does not wait.
    if (!isScheduled && underWay < maxConcurrent) {
      isScheduled = true
      setImmediate(flushWaiting)
    }
    return promise
  }
}

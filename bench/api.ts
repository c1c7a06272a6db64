/** Starts the Backend API of the bench, which knows every user of the bench, once for each delay. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { ApiOrder } from './api-worker.ts'
import type { Issuer } from './issuer.ts'

export interface Apis {
  /** By delay in ms. */
  urls: Map<number, string>
  stop(): Promise<unknown>
}

/** @param versionMs the `updated_at` of every user */
export async function startApis({ jwks }: Issuer, versionMs: number, delaysMs: number[]): Promise<Apis> {
  const order: ApiOrder = { jwks, versionMs, delaysMs }
  const worker = new Worker(new URL('api-worker.ts', import.meta.url), { workerData: order })
  const [ports] = (await once(worker, 'message')) as [number[]]
  const urls = new Map(delaysMs.map((delayMs, index) => [delayMs, `http://127.0.0.1:${ports[index]}`]))
  return { urls, stop: () => worker.terminate() }
}

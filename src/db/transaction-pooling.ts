/**
 * Connections for a pooler that hands each transaction another connection to PostgreSQL, as PgBouncer does in transaction
 * mode: no statement is prepared by name, no parameter is sent at the start, and settings last as long as a transaction.
 */
import pg from 'pg'
import { TimedClient } from './timed-client.ts'

type Query = pg.QueryConfig | string

class TransactionPool extends pg.Pool {
  // biome-ignore lint/suspicious/noExplicitAny: the overloads of pg
  override async query(query: any): Promise<any> {
    const client = await this.connect()
    try {
      await client.query('begin')
      const result = await client.query(query)
      await client.query('commit')
      client.release()
      return result
    } catch (error) {
      client.release(error as Error)
      throw error
    }
  }
}

/** Whether what runs out of a transaction on a client of this pool knows neither its schema nor its time limits. */
export const needsTransaction = (pool: pg.Pool): boolean => pool instanceof TransactionPool

/** A pool whose every statement runs in a transaction with these settings: that of its client, or one of its own. */
export function createTransactionPool(config: pg.PoolConfig, settings: Record<string, string | number>): pg.Pool {
  const setLocal = Object.entries(settings).map(([name, value]) => `; set local ${name} = ${value}`)

  class TransactionClient extends TimedClient {
    // biome-ignore lint/suspicious/noExplicitAny: the overloads of pg
    override query(query: any, ...others: any[]): any {
      return super.query(this.#adapt(query), ...(others as []))
    }

    #adapt(query: Query): Query {
      // In one message with the settings, so that it costs no time of its own.
      if (typeof query === 'string') return query.startsWith('begin') ? [query, ...setLocal].join('') : query
      return { ...query, name: undefined }
    }
  }

  return new TransactionPool({ ...config, Client: TransactionClient as typeof pg.Client })
}

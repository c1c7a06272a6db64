import pg from 'pg'

/** A statement with a time limit of its own. */
export interface TimedStatement extends pg.QueryConfig {
  timeoutMs?: number
}

type Callback = (error: Error, result: pg.QueryResult) => void

/**
 * A connection that is closed when a statement has no answer in time: after its own `timeoutMs`, or else after the
 * `query_timeout` of the connection; 0 is for ever. pg can do that, but assigns a closure to a property for it, as it does
 * for promises, and V8 makes such closures in its old space. Webhooks are a tenth faster without (bench/README.md).
 */
export class TimedClient extends pg.Client {
  readonly #timeoutMs: number

  constructor(config: pg.ClientConfig) {
    super(config)
    const { connectionParameters } = this as unknown as { connectionParameters: { query_timeout: number } }
    this.#timeoutMs = connectionParameters.query_timeout
    connectionParameters.query_timeout = 0 // None of pg's own.
  }

  // biome-ignore lint/suspicious/noExplicitAny: the overloads of pg
  override query(statement: string | TimedStatement, values?: any, callback?: Callback): any {
    if (typeof values === 'function') return this.#send(statement, undefined, values)
    if (callback) return this.#send(statement, values, callback)
    return new Promise((resolve, reject) => {
      this.#send(statement, values, (error, result) => (error ? reject(error) : resolve(result)))
    }).catch((error) => {
      // From the socket's reader, where it was made, no stack leads to who sent the statement.
      Error.captureStackTrace(error)
      throw error
    })
  }

  #send(statement: string | TimedStatement, values: unknown[] | undefined, callback: Callback): void {
    const timeoutMs = (statement as TimedStatement).timeoutMs ?? this.#timeoutMs
    const timer = timeoutMs ? setTimeout(giveUp, timeoutMs, this, timeoutMs) : undefined
    super.query(statement as string, values as unknown[], (error, result) => {
      clearTimeout(timer)
      callback(error, result)
    })
  }
}

// Whatever else was sent fails with it: its answers would come behind the one that does not.
function giveUp(client: pg.Client, timeoutMs: number): void {
  const { connection } = client as unknown as { connection: { stream: { destroy(error: Error): void } } }
  connection.stream.destroy(new Error(`timeout: PostgreSQL has not answered for ${timeoutMs} ms`))
}

/**
 * Sends several statements to PostgreSQL at once, in one round trip. No JavaScript runs between them, so a process that is paused
 * or killed at any moment does not leave a transaction open that holds row locks.
 */
import type { EventEmitter } from 'node:events'
import pg from 'pg'
import utils from 'pg/lib/utils.js'
import { statementTracing } from './channels.ts'
import { markTrouble } from './errors.ts'

/** A statement of a pipeline. */
export interface Sent {
  /** Empty if the pooler does not support prepared statements. */
  name: string
  text: string
  values: unknown[]
  /** Its name in traces. */
  label: string
  /** Whether its rows are returned. */
  hasRows: boolean
  /** Whether it reads what its transaction has written; such statements come last. */
  readsOwnWrites?: boolean
}

type Row = Record<string, unknown>
type Callback = (error: Error | null, rows: Row[][]) => void

/** The parts of pg's connection that a pipeline uses; pg's types have only some of them. */
interface Wire extends EventEmitter {
  stream: { cork(): void; uncork(): void; destroy(error: Error): void }
  parsedStatements: Record<string, string | undefined>
  parse(query: { name: string; text: string }): void
  bind(config: { portal: string; statement: string; values: unknown[]; valueMapper: (value: unknown) => unknown }): void
  describe(message: { type: 'P'; name: string }): void
  execute(config: { portal: string }): void
  sync(): void
}

/** PostgreSQL did not answer in time. */
export class DatabaseTimeout extends Error {
  override name = 'DatabaseTimeout'
}

/**
 * Sends the statements, and resolves to the rows of each of `statements`. One `Sync` ends them all: if a statement fails, PostgreSQL
 * skips the later ones (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING). If PostgreSQL does
 * not answer in time, the connection is destroyed.
 * @param settings statements that must be executed before the others are planned: a `begin`, time limits
 */
export async function sendTogether(
  client: pg.Client,
  settings: Sent[],
  statements: Sent[],
  timeoutMs: number,
): Promise<Row[][]> {
  const { promise, resolve, reject } = Promise.withResolvers<Row[][]>()
  const pipeline = new Pipeline(settings, statements, (error, rows) => (error ? reject(error) : resolve(rows)))
  const { connection } = client as unknown as { connection: Wire }
  const timer = setTimeout(
    () => connection.stream.destroy(new DatabaseTimeout(`PostgreSQL has not answered for ${timeoutMs} ms`)),
    timeoutMs,
  )
  client.query(pipeline)
  try {
    return (await promise).slice(settings.length)
  } catch (error) {
    // The error was created by the socket's reader, so its stack would not show the caller.
    Error.captureStackTrace(error as Error)
    return markTrouble(error)
  } finally {
    clearTimeout(timer)
  }
}

/** Several statements as one query for pg (a `Submittable`). */
class Pipeline {
  readonly #settings: Sent[]
  readonly #statements: Sent[]
  readonly #results: pg.Result[]
  readonly #traces: PromiseWithResolvers<void>[]
  #at = 0
  readonly callback: Callback

  constructor(settings: Sent[], statements: Sent[], callback: Callback) {
    this.#settings = settings
    this.#statements = [...settings, ...statements]
    this.#results = this.#statements.map(() => new pg.Result('', pg.types))
    this.#traces = statementTracing.hasSubscribers ? statements.map(trace) : []
    this.callback = callback
  }

  submit(connection: pg.Connection): null {
    const wire = connection as unknown as Wire
    wire.stream.cork()
    try {
      this.#send(wire)
    } catch (error) {
      wire.stream.destroy(error as Error) // A part may have been sent.
    } finally {
      wire.stream.uncork()
    }
    return null
  }

  // The settings are executed before the other statements are bound. Those are all bound before the first is executed, and the
  // messages that execute them have a few bytes: a process that is paused while it sends a large parameter holds no row lock.
  #send(wire: Wire): void {
    const places = [...this.#statements.keys()]
    const head = places.slice(0, this.#settings.length)
    const isLate = (i: number) => this.#statements[i]?.readsOwnWrites === true
    const rest = places.slice(this.#settings.length).filter((i) => !isLate(i))
    const late = places.filter(isLate)
    const parsed = places.filter((i) => isNew(wire, this.#statements[i] as Sent))
    if (parsed.length > 0) this.#note(wire, parsed)
    for (const i of head) {
      this.#bind(wire, i, parsed.includes(i))
      this.#execute(wire, i)
    }
    for (const i of rest) this.#bind(wire, i, parsed.includes(i))
    for (const i of rest) this.#execute(wire, i)
    // Bound after the others are executed, because PostgreSQL takes the snapshot of a `select` when it is bound.
    for (const i of late) {
      this.#bind(wire, i, parsed.includes(i))
      this.#execute(wire, i)
    }
    wire.sync()
  }

  #bind(wire: Wire, i: number, isNew: boolean): void {
    const { name, text, values } = this.#statements[i] as Sent
    if (isNew) wire.parse({ name, text })
    wire.bind({ portal: `p${i}`, statement: name, values, valueMapper: utils.prepareValue })
  }

  #execute(wire: Wire, i: number): void {
    if (this.#statements[i]?.hasRows) wire.describe({ type: 'P', name: `p${i}` })
    wire.execute({ portal: `p${i}` })
  }

  /** Records each statement when PostgreSQL confirms that it has parsed it, because after an error it does not parse the rest. */
  #note(wire: Wire, places: number[]): void {
    let done = 0
    const onParsed = () => {
      const { name, text } = this.#statements[places[done] as number] as Sent
      if (name !== '') wire.parsedStatements[name] = text
      done += 1
    }
    wire.on('parseComplete', onParsed)
    wire.once('readyForQuery', () => wire.off('parseComplete', onParsed))
  }

  handleRowDescription({ fields }: { fields: pg.FieldDef[] }): void {
    ;(this.#results[this.#at] as pg.Result & { addFields(fields: pg.FieldDef[]): void }).addFields(fields)
  }

  handleDataRow({ fields }: { fields: unknown[] }): void {
    if (!this.#statements[this.#at]?.hasRows) return
    const result = this.#results[this.#at] as pg.Result & { parseRow(fields: unknown[]): Row }
    result.rows.push(result.parseRow(fields))
  }

  handleCommandComplete(): void {
    this.#traces[this.#at - this.#settings.length]?.resolve()
    this.#at += 1
  }

  handleError(error: Error): void {
    for (const { reject } of this.#traces.slice(Math.max(0, this.#at - this.#settings.length))) reject(error)
    this.callback(error, [])
  }

  handleReadyForQuery(): void {
    this.callback(
      null,
      this.#results.map(({ rows }) => rows),
    )
  }
}

// An unnamed statement is parsed each time.
const isNew = ({ parsedStatements }: Wire, { name, text }: Sent) => name === '' || parsedStatements[name] !== text

function trace({ label: name, text }: Sent): PromiseWithResolvers<void> {
  const ended = Promise.withResolvers<void>()
  statementTracing.tracePromise(() => ended.promise, { name, text }).catch(() => undefined)
  return ended
}

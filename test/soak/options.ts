import { parseArgs } from 'node:util'

export interface Options {
  minutes: number
  /** Repeats a run's faults and messages; not its timing. */
  seed: number
  /** The entry of the service. */
  service: string
  isJson: boolean
}

export const USAGE = 'npm run soak -- [--minutes 5] [--seed <number>] [--service dist/server.js] [--json]'

/** Reads the command line. Throws a TypeError that names what is wrong. */
export function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      minutes: { type: 'string', default: '5' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      service: { type: 'string', default: 'dist/server.js' },
      json: { type: 'boolean', default: false },
    },
  })
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)]
  if (!(minutes > 0)) throw new TypeError(`--minutes: ${values.minutes} is no number above 0`)
  if (!Number.isSafeInteger(seed)) throw new TypeError(`--seed: ${values.seed} is no whole number`)
  return { minutes, seed, service: values.service, isJson: values.json }
}

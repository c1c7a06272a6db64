import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../db/delivery.ts'
import { ATTACKS } from './attacks.ts'
import type { Tally } from './tally.ts'
import type { World } from './world.ts'

/** Breaks something, and resolves when all is as before again. */
export type Fault = (world: World, random: Random, tally: Tally) => Promise<void>

const TERMINATE =
  'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = $1'

export const FAULTS: Record<string, Fault> = {
  async 'service: kill -9'({ mortal }, random) {
    await mortal.end('SIGKILL')
    await sleep(random(500))
    await mortal.start()
  },
  async 'service: SIGTERM'({ mortal }, _random, tally) {
    const code = await mortal.end('SIGTERM')
    if (code !== 0) tally.violate(`SIGTERM ended with ${code}`)
    await mortal.start()
  },
  async 'PostgreSQL: stop'({ postgres }, random) {
    await postgres.stop()
    await sleep(random(1_500))
    await postgres.start()
  },
  async 'PostgreSQL: kill -9'({ postgres }, random) {
    await postgres.kill()
    await sleep(random(1_500))
    await postgres.start()
  },
  async 'PostgreSQL: frozen'({ postgres }, random) {
    postgres.freeze()
    // Longer than the time limits of a statement, mostly.
    await sleep(2_000 + random(5_000))
    postgres.thaw()
  },
  async 'PostgreSQL: connections terminated'({ database }, random) {
    const { pathname } = new URL(database.url)
    for (let round = random(4); round >= 0; round -= 1) {
      await database.query(TERMINATE, [pathname.slice(1)])
      await sleep(random(200))
    }
  },
  async 'PostgreSQL: disk full'({ disk, database }, random) {
    await disk.fill(database.url)
    await sleep(500 + random(1_500))
    await disk.free(database.url)
  },
  async 'network: cut'({ network }, random) {
    await network.cut()
    await sleep(random(1_500))
    await network.restore()
  },
  async 'network: silent'({ network }, random) {
    network.freeze()
    await sleep(2_000 + random(4_000))
    await network.restore()
  },
  async 'service and PostgreSQL: kill -9'({ mortal, postgres }, random) {
    await Promise.all([mortal.end('SIGKILL'), postgres.kill()])
    await sleep(random(500))
    await Promise.all([mortal.start(), postgres.start()])
  },
  async 'Clerk: out of order'({ clerk }, random) {
    clerk.faults.api = random(2) === 0 ? 'error' : 'hang'
    clerk.faults.jwks = 'reset'
    await sleep(500 + random(1_500))
    clerk.faults.api = clerk.faults.jwks = undefined
  },
  ...ATTACKS,
}

/** The names of faults, each once before any comes again, in an order of its own each time. */
export function* endlessly(random: Random): Generator<string, never> {
  for (;;) {
    const round = Object.keys(FAULTS)
    while (round.length > 0) yield round.splice(random(round.length), 1)[0] as string
  }
}

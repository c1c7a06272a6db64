/** What the auth plugin's checks cost: verified requests per second against plain @fastify/jwt with a static key. */
import { scatter, spread, userId } from './bench-user.ts'
import { type Running, settingsFor, start } from './contenders.ts'
import { drive } from './driver.ts'
import type { Issuer } from './issuer.ts'
import { cpuMs, moveToOtherCore } from './machine.ts'
import type { Options } from './options.ts'
import type { Progress } from './peers.ts'
import { tokenRequest } from './requests.ts'
import { BAR_HEAD, decimal, short, table, toBarRow } from './table.ts'
import { signTokens } from './tokens.ts'

interface Peer {
  name: string
  file: string
  settings: (issuer: Issuer) => Record<string, string>
}

/** Where the rotation over the tokens stands: each run goes on where the last one ended. */
interface Position {
  position: number
}

const PLUGIN: Peer = {
  name: 'auth plugin',
  file: 'bench/peers/auth-plugin.ts',
  settings: (issuer) => settingsFor('service', issuer),
}
const PLAIN: Peer = {
  name: '@fastify/jwt',
  file: 'bench/peers/plain-jwt.ts',
  settings: ({ publicKey }) => ({ PUBLIC_KEY: publicKey }),
}
const CACHED: Peer = {
  ...PLAIN,
  name: '@fastify/jwt, its cache on',
  settings: ({ publicKey }) => ({ PUBLIC_KEY: publicKey, CACHED_TOKENS: '10000' }),
}
const PEERS = [PLUGIN, PLAIN, CACHED]

export interface JwtFigure {
  peer: string
  tokens: 'seen before' | 'new'
  connections: number
  perSecond: number
  cpuUs: number
  faults: string[]
}

/** Each peer verifies tokens that it has seen, and more tokens than any cache holds. What it starts it ends. */
export async function runJwt(options: Options, issuer: Issuer, progress: Progress): Promise<JwtFigure[]> {
  progress('signing tokens')
  const warm = spread(options.tokens, options.users)
  const cold = spread(options.coldTokens, options.users)
  const tokens = await signTokens(issuer, [...warm, ...cold])
  moveToOtherCore()
  const figures: JwtFigure[] = []
  const running = new Map<Peer, Running & Position>()
  try {
    for (const peer of PEERS) {
      running.set(peer, { ...(await start(peer.file, peer.settings(issuer))), position: 0 })
    }
    for (const connections of options.connections) {
      for (const [kind, numbers] of [['seen before', warm] as const, ['new', cold] as const]) {
        const requests = numbers.map((number) => tokenRequest('GET', '/verified', tokens.get(number) as string))
        for (let round = 1; round <= options.rounds; round += 1) {
          for (const [{ name }, server] of running) {
            const figure = await measure(server, requests, numbers, connections, options)
            figures.push({ peer: name, tokens: kind, connections, ...figure })
            progress(`round ${round} ${name}, tokens ${kind}, ${connections}: ${figure.perSecond.toFixed(0)}/s`)
          }
        }
      }
    }
    return figures
  } finally {
    await Promise.all([...running.values()].map((server) => server.stop()))
  }
}

async function measure(
  server: Running & Position,
  requests: Buffer[],
  numbers: number[],
  connections: number,
  { warmupSeconds, seconds }: Options,
) {
  const { port, pid, position } = server
  const cpu: number[] = []
  const at = (index: number) => scatter(position + index, numbers.length)
  const { sent, answered, refusals, samples, ...result } = await drive({
    port,
    connections,
    request: (index) => requests[at(index)],
    warmupSeconds,
    seconds,
    onMark: () => cpu.push(cpuMs(pid)),
  })
  server.position += sent
  const [before, after] = cpu as [number, number]
  return {
    perSecond: answered / result.seconds,
    cpuUs: ((after - before) * 1000) / answered,
    faults: [
      ...[...refusals].map(([status, { count, body }]) => `${count} answers were ${status}: ${body}`),
      ...samples
        .filter(({ index, body }) => JSON.parse(body).userId !== userId(numbers[at(index)] as number))
        .map(({ body }) => `answered with ${body}`),
    ],
  }
}

/** Medians over the rounds, and the plugin's ratio to each. */
export function reportJwt(figures: JwtFigure[]): string {
  const groups = Map.groupBy(figures, ({ peer, tokens, connections }) => `${peer} ${tokens} ${connections}`)
  const rows = [...groups.values()].map((group) => {
    const { peer, tokens, connections } = group[0] as JwtFigure
    const ours = groups.get(`${PLUGIN.name} ${tokens} ${connections}`) as JwtFigure[]
    const ratio = median(group.map((figure, round) => (ours[round] as JwtFigure).perSecond / figure.perSecond))
    const byCpu = median(group.map((figure, round) => figure.cpuUs / (ours[round] as JwtFigure).cpuUs))
    return [
      peer,
      tokens,
      decimal(connections),
      group.some(({ faults }) => faults.length > 0) ? 'VOID' : decimal(median(group.map((f) => f.perSecond))),
      short(median(group.map((figure) => figure.cpuUs))),
      short(ratio),
      short(byCpu),
    ]
  })
  const figuresTable = table(['', 'tokens', 'connections', 'req/s', 'CPU µs', 'auth plugin ×', 'by CPU'], rows)
  const bars = rows.flatMap(([peer, tokens, connections, , , ratio = '']) => {
    if (peer !== CACHED.name || tokens !== 'new' || connections === '1') return []
    return [toBarRow(`new token × @fastify/jwt at ${connections}`, BAR_OF_NEW_TOKENS, Number(ratio))]
  })
  return bars.length === 0 ? figuresTable : `${figuresTable}\n\n${table(BAR_HEAD, bars)}`
}

// Against its cache on, which is the faster of the two where tokens come again.
const BAR_OF_NEW_TOKENS = 1.8

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number

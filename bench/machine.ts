/** What Linux says of processes, and which cores they may use. Elsewhere nothing is pinned and the figures are NaN. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'

const SERVER_CORE = 0
const OTHER_CORE = 1
const TICKS_PER_SECOND = 100 // USER_HZ, the same on every Linux that Node.js runs on

const canPin = availableParallelism() > 1 && hasTaskset()

function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A command line that runs on the server's core, alone there. */
export function onServerCore(command: string, args: string[]): [string, string[]] {
  return canPin ? ['taskset', ['-c', String(SERVER_CORE), command, ...args]] : [command, args]
}

/** Moves this process, all its threads and what it starts from now on (PostgreSQL) to the other core. */
export function moveToOtherCore(): void {
  if (canPin) execFileSync('taskset', ['-a', '-p', '-c', String(OTHER_CORE), String(process.pid)], { stdio: 'ignore' })
}

/** What the figures were taken on. */
export function describeMachine(): string {
  const [cpu] = cpus()
  const pinning = canPin ? `server on core ${SERVER_CORE}, the rest on core ${OTHER_CORE}` : 'nothing pinned'
  const load = loadavg()[0]?.toFixed(1)
  return `${cpu?.model.trim()}, ${cpus().length} cores (${pinning}), Node.js ${process.version}, load ${load} at the start`
}

/** CPU time that a process has used so far, in ms. */
export function cpuMs(pid: number): number {
  const fields = stat(pid)
  return fields ? ticksToMs(Number(fields[11]) + Number(fields[12])) : Number.NaN
}

/** The same of a process with all its children, those that ended included. */
export function cpuOfTreeMs(pid: number): number {
  const parent = stat(pid)
  if (!parent) return Number.NaN
  let ticks = parent.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  for (const entry of readdirSync('/proc')) {
    const fields = /^\d+$/.test(entry) ? stat(Number(entry)) : undefined
    if (fields && Number(fields[1]) === pid) ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticksToMs(ticks)
}

/** Memory of a process: now, and at its peak. */
export function memoryMb(pid: number): { rss: number; peak: number } {
  const status = read(`/proc/${pid}/status`) ?? ''
  const megabytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024
  return { rss: megabytes('VmRSS'), peak: megabytes('VmHWM') }
}

const ticksToMs = (ticks: number) => (ticks * 1000) / TICKS_PER_SECOND

// proc(5), from the third field on: the name in parentheses may hold anything.
function stat(pid: number): string[] | undefined {
  const line = read(`/proc/${pid}/stat`)
  return line?.slice(line.lastIndexOf(')') + 2).split(' ')
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined // It has ended, or this is no Linux.
  }
}

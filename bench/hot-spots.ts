/** Prints where a CPU profile spent its time: `node bench/hot-spots.ts file.cpuprofile [seconds to skip]`. */
import { readFileSync } from 'node:fs'
import { decimal, table } from './table.ts'

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[]
  startTime: number
  samples: number[]
  timeDeltas: number[]
}

const SHOWN = 30
const [file, skipSeconds = '0'] = process.argv.slice(2)
if (!file) {
  console.error('node bench/hot-spots.ts file.cpuprofile [seconds to skip]')
  process.exit(2)
}
const { nodes, samples, timeDeltas }: CpuProfile = JSON.parse(readFileSync(file, 'utf8'))
const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))

const selfTimes = new Map<string, number>()
const packages = new Map<string, number>()
let elapsed = 0
let total = 0
for (const [index, id] of samples.entries()) {
  const delta = (timeDeltas[index] ?? 0) / 1e6
  elapsed += delta
  const frame = frames.get(id)
  if (!frame || frame.functionName === '(idle)' || elapsed < Number(skipSeconds)) continue
  total += delta
  add(selfTimes, `${frame.functionName || '(anonymous)'} ${placeOf(frame)}`, delta)
  add(packages, packageOf(frame), delta)
}

function add(sums: Map<string, number>, key: string, delta: number): void {
  sums.set(key, (sums.get(key) ?? 0) + delta)
}

function placeOf({ url, lineNumber }: { url: string; lineNumber: number }): string {
  if (url === '') return ''
  return `${url.replace(/^file:\/\//, '').replace(/^.*\/node_modules\//, '')}:${lineNumber + 1}`
}

function packageOf({ url, functionName }: { url: string; functionName: string }): string {
  if (url === '') return functionName.startsWith('(') ? functionName : 'V8 and C++'
  const [, name] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url) ?? []
  return name ?? (url.startsWith('node:') ? 'Node.js' : 'this project')
}

function print(title: string, sums: Map<string, number>): void {
  const rows = [...sums].sort(([, a], [, b]) => b - a).slice(0, SHOWN)
  console.log(
    table(
      [title, '% of busy time'],
      rows.map(([name, seconds]) => [name, decimal((seconds / total) * 100, 1)]),
    ),
    '\n',
  )
}

print('function', selfTimes)
print('package', packages)

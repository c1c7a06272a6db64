import { spawnSync } from 'node:child_process'

/** Runs Prometheus' own tool, from PROMTOOL or the PATH. All that it printed, with its exit code. */
export function promtool(args: string[], input = ''): { status: number | null; output: string } {
  const { status, stdout, stderr, error } = spawnSync(process.env.PROMTOOL ?? 'promtool', args, {
    input,
    encoding: 'utf8',
  })
  if (error) throw new Error(`promtool is not on this machine, it is in Debian's package prometheus: ${error.message}`)
  return { status, output: stdout + stderr }
}

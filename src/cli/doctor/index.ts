/** `doctor`: checks settings, database, Clerk and the running service, and names a remedy for each problem. */
import type { Config } from '../../config.ts'
import { type Context, EXIT_DONE, EXIT_FAILED } from '../context.ts'
import { columns, type Output } from '../output.ts'
import { type Check, fail, guarded } from './check.ts'
import { checkClerk } from './clerk.ts'
import { checkDatabase } from './database.ts'
import { checkService } from './service.ts'
import { checkSettings } from './settings.ts'
import { explainToken } from './token.ts'

export interface DoctorFlags {
  /** The URL of the running service; by default made from HOST and PORT. */
  url?: string
  /** A session token to explain, or `-` to read it from stdin. */
  token?: string
}

/** Resolves to exit code 1 if a check fails; warnings do not count. */
export async function runDoctor(context: Context, { url, token }: DoctorFlags): Promise<number> {
  const { config, output } = context
  const database = await checkDatabase(context)
  const hasDatabase = database.every(({ status }) => status !== 'fail')
  if (token !== undefined) {
    const text = token === '-' ? await readAll(context.stdin()) : token
    return report(output, await explainToken(context, text, hasDatabase))
  }
  const [clerk, service] = await Promise.all([
    guarded('Clerk', () => checkClerk(context, hasDatabase), 'see its message'),
    guarded('service', () => checkService(config, url?.replace(/\/+$/, '') ?? addressOf(config)), 'see its message'),
  ])
  return report(output, [...checkSettings(config), ...database, ...clerk, ...service])
}

/** Reports settings that cannot be used: one failed check for each problem. */
export function reportSettings(output: Output, problems: readonly string[]): number {
  return report(
    output,
    problems.map((problem) => fail('settings', problem, 'see docs/settings.md')),
  )
}

async function readAll(stream: ReturnType<Context['stdin']>): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += chunk
  return text
}

function addressOf({ HOST, PORT }: Config): string {
  const host = HOST === '0.0.0.0' || HOST === '::' ? '127.0.0.1' : HOST
  return `http://${host.includes(':') ? `[${host}]` : host}:${PORT}`
}

const SIGNS = { pass: 'pass', warn: 'WARN', fail: 'FAIL' }

function report(output: Output, checks: Check[]): number {
  const failed = checks.filter(({ status }) => status === 'fail').length
  const warned = checks.filter(({ status }) => status === 'warn').length
  output.result({ checks, failed, warned }, [
    ...columns(
      checks.map(({ name, status, detail, remedy }) => [SIGNS[status], name, remedy ? `${detail}: ${remedy}` : detail]),
    ),
    '',
    failed + warned === 0 ? 'All checks passed.' : `${failed} failed, ${warned} warnings.`,
  ])
  return failed > 0 ? EXIT_FAILED : EXIT_DONE
}

import { randomBytes } from 'node:crypto'
import type { Config } from './config.ts'

/** Outside production a dashboard without a configured token gets a random one, because it never opens without a token. */
export function withDashboardToken(config: Config): Config {
  if (config.isProduction || config.DASHBOARD_TOKEN) return config
  return Object.freeze({ ...config, DASHBOARD_TOKEN: randomBytes(24).toString('base64url') })
}

/** The URL that opens the page with its token in the fragment, which browsers never send; the page removes it at once. */
export const dashboardLink = (serviceUrl: string, token: string) => `${serviceUrl}/dashboard#token=${token}`

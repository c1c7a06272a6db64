import type { Config } from '../../config.ts'
import { issuerOf } from '../../setting-values.ts'
import { type Check, pass, warn } from './check.ts'

/** Checks the settings themselves, without any connection. */
export function checkSettings(config: Config): Check[] {
  const checks: Check[] = [pass('settings', `complete and well formed (NODE_ENV=${config.NODE_ENV})`)]
  const { CLERK_SECRET_KEY, CLERK_ISSUER = '', CLERK_PUBLISHABLE_KEY } = config
  const { CLERK_WEBHOOK_SIGNING_SECRET, CLERK_AUTHORIZED_PARTIES } = config
  if (!CLERK_SECRET_KEY) {
    const remedy = 'set CLERK_SECRET_KEY (Clerk Dashboard, API keys): backfill and reconcile need it'
    checks.push(warn('secret key', 'not set: profiles come only from webhooks and claims', remedy))
  } else {
    const isTest = CLERK_SECRET_KEY.startsWith('sk_test_')
    const isTestIssuer = CLERK_ISSUER.endsWith('.accounts.dev')
    if (config.isProduction && isTest) {
      checks.push(warn('secret key', 'of a development instance, in production', 'use the sk_live_ key'))
    } else if (!isTest && isTestIssuer) {
      const remedy = 'use the key and issuer of the same instance (Clerk Dashboard, API keys)'
      checks.push(warn('secret key', 'of a production instance, with the issuer of a development instance', remedy))
    } else checks.push(pass('secret key', isTest ? 'of a development instance' : 'of a production instance'))
  }
  const encoded = issuerOf(CLERK_PUBLISHABLE_KEY)
  if (encoded !== undefined && encoded !== CLERK_ISSUER) {
    const remedy =
      'copy both from one instance, or session cookies are not found; correct only if Clerk is behind your proxy'
    checks.push(warn('publishable key', `of ${encoded}, but CLERK_ISSUER is ${CLERK_ISSUER}`, remedy))
  }
  checks.push(
    CLERK_WEBHOOK_SIGNING_SECRET.length === 0
      ? warn('signing secret', 'not set: webhooks are not accepted', 'set CLERK_WEBHOOK_SIGNING_SECRET')
      : pass('signing secret', `${CLERK_WEBHOOK_SIGNING_SECRET.length} set`),
    CLERK_AUTHORIZED_PARTIES.length === 0
      ? warn(
          'authorized parties',
          'not set: tokens made for any front end of the instance are accepted',
          'set CLERK_AUTHORIZED_PARTIES to your origins',
        )
      : pass('authorized parties', CLERK_AUTHORIZED_PARTIES.join(', ')),
  )
  return checks
}

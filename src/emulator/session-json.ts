import { newId } from './ids.ts'
import type { Session } from './schemas.ts'

const DAY_MS = 24 * 60 * 60_000

/** A new session with Clerk's default lifetimes: it expires after 7 days and is abandoned after 30. */
export function newSession(userId: string, status: 'active' | 'pending', atMs: number): Session {
  return {
    object: 'session',
    id: newId('sess', atMs),
    user_id: userId,
    client_id: newId('client', atMs),
    actor: null,
    status,
    last_active_organization_id: null,
    last_active_at: atMs,
    latest_activity: {
      object: 'session_activity',
      id: newId('sess_activity', atMs),
      device_type: 'Macintosh',
      is_mobile: false,
      browser_name: 'Chrome',
      browser_version: '128.0.0.0',
      ip_address: '127.0.0.1',
      city: 'San Francisco',
      country: 'US',
    },
    expire_at: atMs + 7 * DAY_MS,
    abandon_at: atMs + 30 * DAY_MS,
    created_at: atMs,
    updated_at: atMs,
  }
}

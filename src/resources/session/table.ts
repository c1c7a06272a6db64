import { boolean, index, sql, text } from '../../db/drizzle.ts'
import { type MakeTable, makeTable, time } from '../../db/table.ts'
import { FINAL_SESSION_STATUSES } from './change.ts'

/** The final statuses as a list in SQL. */
export const FINAL_SQL = sql.raw(`(${FINAL_SESSION_STATUSES.map((status) => `'${status}'`).join(', ')})`)
const isFinalSql = sql`status in ${FINAL_SQL}`

/** One row per session that an event was received about. No foreign key, because events arrive in any order. */
export const sessionsIn = (table: MakeTable) =>
  table(
    'sessions',
    {
      id: text('id').primaryKey(),
      userId: text('user_id').notNull(),
      status: text('status').notNull(),
      /** It is `ended` only because its user was deleted; a final status from Clerk takes precedence. */
      endedByDeletion: boolean('ended_by_deletion').notNull().default(false),
      clientId: text('client_id'),
      clerkCreatedAt: time('clerk_created_at'),
      clerkUpdatedAt: time('clerk_updated_at').notNull(),
      clerkEventAt: time('clerk_event_at'),
      lastActiveAt: time('last_active_at'),
      expireAt: time('expire_at'),
      abandonAt: time('abandon_at'),
      createdAt: time('created_at').notNull().defaultNow(),
      updatedAt: time('updated_at').notNull().defaultNow(),
    },
    (table) => [
      index('sessions_user_id_idx').on(table.userId),
      // For pruning; only ended sessions are in the index.
      index('sessions_final_idx').on(table.updatedAt).where(isFinalSql),
      index('sessions_lapsed_idx').on(sql`greatest("expire_at", "abandon_at")`).where(sql`not (${isFinalSql})`),
    ],
  )

export const sessions = sessionsIn(makeTable)

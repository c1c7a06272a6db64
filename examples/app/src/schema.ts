import { users } from 'clerk-session-sync/schema'
import { index, integer, pgTable, text, timestamp } from 'drizzle-orm/pg-core'

export const orders = pgTable(
  'orders',
  {
    id: integer().primaryKey().generatedAlwaysAsIdentity(),
    // A user who was deleted at Clerk keeps the row, without personal data, so the key never breaks.
    userId: text('user_id')
      .notNull()
      .references(() => users.id),
    item: text().notNull(),
    createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (table) => [index('orders_user_id').on(table.userId)],
)

import { defineConfig } from 'drizzle-kit'

// `npm run migrate:generate` compares src/db/migration-tables.ts with migrations/meta and writes the difference; no database is needed.
export default defineConfig({ dialect: 'postgresql', schema: './src/db/migration-tables.ts', out: './migrations' })

CREATE TABLE "sync_state" (
	"job" text PRIMARY KEY NOT NULL,
	"state" jsonb NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE INDEX "sessions_final_idx" ON "sessions" USING btree ("updated_at") WHERE status in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired');
ALTER TABLE "users" ADD COLUMN "external_id" text;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "phone_number" text;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "locked" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "deprovisioned" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "unsafe_metadata" jsonb;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "private_metadata" jsonb;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "clerk_asked_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "webhook_events" ADD COLUMN "instance_id" text;--> statement-breakpoint
ALTER TABLE "webhook_events" ADD COLUMN "user_id" text;--> statement-breakpoint
CREATE INDEX "sessions_lapsed_idx" ON "sessions" USING btree (greatest("expire_at", "abandon_at")) WHERE not (status in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired'));--> statement-breakpoint
CREATE INDEX "webhook_events_payload_idx" ON "webhook_events" USING btree ("user_id") WHERE payload is not null;--> statement-breakpoint
CREATE INDEX "webhook_events_foreign_idx" ON "webhook_events" USING btree ("received_at") WHERE outcome = 'ignored' and error is not null;
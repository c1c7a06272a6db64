CREATE TABLE "sessions" (
	"id" text PRIMARY KEY NOT NULL,
	"user_id" text NOT NULL,
	"status" text NOT NULL,
	"client_id" text,
	"clerk_created_at" timestamp (3) with time zone,
	"clerk_updated_at" timestamp (3) with time zone NOT NULL,
	"clerk_event_at" timestamp (3) with time zone,
	"last_active_at" timestamp (3) with time zone,
	"expire_at" timestamp (3) with time zone,
	"abandon_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "users" (
	"id" text PRIMARY KEY NOT NULL,
	"email" text,
	"email_verified" boolean,
	"first_name" text,
	"last_name" text,
	"username" text,
	"image_url" text,
	"public_metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"last_sign_in_at" timestamp (3) with time zone,
	"banned" boolean DEFAULT false NOT NULL,
	"clerk_created_at" timestamp (3) with time zone,
	"clerk_updated_at" timestamp (3) with time zone,
	"clerk_event_at" timestamp (3) with time zone,
	"claims_issued_at" timestamp (3) with time zone,
	"claims_columns" text[],
	"sync_source" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "webhook_events" (
	"id" text PRIMARY KEY NOT NULL,
	"type" text NOT NULL,
	"object_id" text,
	"outcome" text NOT NULL,
	"error" text,
	"attempts" integer DEFAULT 1 NOT NULL,
	"event_at" timestamp (3) with time zone,
	"received_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"last_received_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"processed_at" timestamp (3) with time zone,
	"payload" text
);
--> statement-breakpoint
CREATE INDEX "sessions_user_id_idx" ON "sessions" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "users_email_idx" ON "users" USING hash ("email");--> statement-breakpoint
CREATE INDEX "webhook_events_received_at_idx" ON "webhook_events" USING btree ("received_at");--> statement-breakpoint
CREATE INDEX "webhook_events_failed_idx" ON "webhook_events" USING btree ("received_at") WHERE outcome = 'failed';
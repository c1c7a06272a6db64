CREATE TABLE "change_consumers" (
	"name" text PRIMARY KEY NOT NULL,
	"xid" "xid8" NOT NULL,
	"seq" bigint NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "change_deliveries" (
	"consumer" text NOT NULL,
	"seq" bigint NOT NULL,
	"xid" "xid8" NOT NULL,
	"entity" text NOT NULL,
	"entity_id" text NOT NULL,
	"op" text NOT NULL,
	"changed" text[] DEFAULT '{}' NOT NULL,
	"cause" text,
	"occurred_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp (3) with time zone,
	"dead_at" timestamp (3) with time zone,
	"error" text,
	CONSTRAINT "change_deliveries_pkey" PRIMARY KEY("consumer","xid","seq")
);
--> statement-breakpoint
CREATE TABLE "changes" (
	"seq" bigint GENERATED ALWAYS AS IDENTITY (sequence name "changes_seq_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	"entity" text NOT NULL,
	"entity_id" text NOT NULL,
	"op" text NOT NULL,
	"changed" text[] DEFAULT '{}' NOT NULL,
	"cause" text,
	"occurred_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "changes_pkey" PRIMARY KEY("xid","seq")
);
--> statement-breakpoint
CREATE INDEX "change_deliveries_due_idx" ON "change_deliveries" USING btree ("consumer","next_attempt_at") WHERE next_attempt_at is not null;
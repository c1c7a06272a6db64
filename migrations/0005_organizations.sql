CREATE TABLE "organization_invitations" (
	"id" text PRIMARY KEY NOT NULL,
	"organization_id" text,
	"email" text,
	"role" text,
	"status" text,
	"user_id" text,
	"clerk_created_at" timestamp (3) with time zone,
	"clerk_updated_at" timestamp (3) with time zone NOT NULL,
	"clerk_event_at" timestamp (3) with time zone,
	"clerk_heard_at" timestamp (3) with time zone,
	"sync_source" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "organization_memberships" (
	"id" text PRIMARY KEY NOT NULL,
	"organization_id" text,
	"user_id" text,
	"role" text,
	"permissions" text[] DEFAULT '{}' NOT NULL,
	"public_metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"clerk_created_at" timestamp (3) with time zone,
	"clerk_updated_at" timestamp (3) with time zone NOT NULL,
	"clerk_event_at" timestamp (3) with time zone,
	"clerk_heard_at" timestamp (3) with time zone,
	"sync_source" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "organization_roles" (
	"id" text PRIMARY KEY NOT NULL,
	"key" text,
	"name" text,
	"permissions" text[] DEFAULT '{}' NOT NULL,
	"clerk_created_at" timestamp (3) with time zone,
	"clerk_updated_at" timestamp (3) with time zone NOT NULL,
	"clerk_event_at" timestamp (3) with time zone,
	"clerk_heard_at" timestamp (3) with time zone,
	"sync_source" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "organizations" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text,
	"slug" text,
	"image_url" text,
	"public_metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_by" text,
	"clerk_created_at" timestamp (3) with time zone,
	"clerk_updated_at" timestamp (3) with time zone NOT NULL,
	"clerk_event_at" timestamp (3) with time zone,
	"clerk_heard_at" timestamp (3) with time zone,
	"sync_source" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE INDEX "organization_invitations_organization_idx" ON "organization_invitations" USING btree ("organization_id");--> statement-breakpoint
CREATE INDEX "organization_invitations_user_idx" ON "organization_invitations" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "organization_memberships_user_idx" ON "organization_memberships" USING btree ("user_id","organization_id");--> statement-breakpoint
CREATE INDEX "organization_memberships_organization_idx" ON "organization_memberships" USING btree ("organization_id");--> statement-breakpoint
CREATE INDEX "organization_roles_key_idx" ON "organization_roles" USING btree ("key");
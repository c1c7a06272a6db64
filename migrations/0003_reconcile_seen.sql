CREATE TABLE "reconcile_seen" (
	"id" text PRIMARY KEY NOT NULL
);

-- What an application reads: rows that have not ended, and permissions as they are now.
CREATE VIEW living_users AS SELECT * FROM users WHERE deleted_at IS NULL;
--> statement-breakpoint
CREATE VIEW living_organizations AS SELECT * FROM organizations WHERE deleted_at IS NULL;
--> statement-breakpoint
CREATE VIEW living_memberships AS
SELECT m.id, m.organization_id, m.user_id, m.role, coalesce(r.permissions, m.permissions) AS permissions, m.public_metadata,
  m.clerk_created_at, m.clerk_updated_at, m.created_at, m.updated_at
FROM organization_memberships m
LEFT JOIN LATERAL (
  SELECT newest.permissions FROM (
    SELECT r.permissions, r.clerk_updated_at, r.clerk_event_at FROM organization_roles r
    WHERE r.key = m.role AND r.deleted_at IS NULL
    ORDER BY r.clerk_updated_at DESC, coalesce(r.clerk_event_at, '-infinity') DESC, r.id LIMIT 1) newest
  WHERE (newest.clerk_updated_at, coalesce(newest.clerk_event_at, '-infinity'))
    > (m.clerk_updated_at, coalesce(m.clerk_event_at, '-infinity'))) r ON true
WHERE m.ended_at IS NULL
  AND NOT EXISTS (SELECT FROM users u WHERE u.id = m.user_id AND u.deleted_at IS NOT NULL)
  AND NOT EXISTS (SELECT FROM organizations o WHERE o.id = m.organization_id AND o.deleted_at IS NOT NULL);
--> statement-breakpoint
-- For row-level security. The bodies are parsed here, so that they name these tables whatever the caller's search_path is.
CREATE FUNCTION jwt_claims() RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb;
END;
--> statement-breakpoint
CREATE FUNCTION jwt_user_id() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT jwt_claims() ->> 'sub';
END;
--> statement-breakpoint
CREATE FUNCTION jwt_organization_id() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT nullif(CASE WHEN c -> 'v' = '2' THEN c -> 'o' ->> 'id' ELSE c ->> 'org_id' END, '') FROM jwt_claims() AS c;
END;
--> statement-breakpoint
CREATE FUNCTION jwt_role() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT 'org:' || regexp_replace(nullif(CASE WHEN c -> 'v' = '2' THEN c -> 'o' ->> 'rol' ELSE c ->> 'org_role' END, ''), '^(org:)*', '')
  FROM jwt_claims() AS c WHERE jwt_organization_id() IS NOT NULL;
END;
--> statement-breakpoint
-- Version 2 of the claims: per names the actions, and fpm has for each feature of the organization a number, whose lowest bit
-- stands for the first action.
CREATE FUNCTION jwt_has_permission(permission text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT CASE
    WHEN jwt_organization_id() IS NULL OR $1 IS NULL THEN NULL
    WHEN c -> 'v' = '2' THEN
      NOT EXISTS (SELECT FROM unnest(string_to_array(c ->> 'fea', ',')) AS e WHERE position(':' IN e) = 0)
      AND EXISTS (
        SELECT FROM (
          SELECT substr(trim(e), position(':' IN trim(e)) + 1) AS name, row_number() OVER (ORDER BY n) AS n
          FROM unnest(string_to_array(c ->> 'fea', ',')) WITH ORDINALITY AS features(e, n)
          WHERE split_part(trim(e), ':', 1) IN ('o', 'ou', 'uo')) AS feature
        JOIN unnest(string_to_array(c -> 'o' ->> 'fpm', ',')) WITH ORDINALITY AS map(bits, n) USING (n)
        CROSS JOIN unnest(string_to_array(c -> 'o' ->> 'per', ',')) WITH ORDINALITY AS action(name, bit)
        WHERE 'org:' || feature.name || ':' || trim(action.name) = wanted
          AND CASE WHEN trim(map.bits) ~ '^[0-9]+$' AND length(map.bits) <= 400
            THEN mod(div(trim(map.bits)::numeric, 2::numeric ^ (action.bit - 1)::numeric), 2) = 1 ELSE false END)
    ELSE coalesce(jsonb_typeof(c -> 'org_permissions') = 'array' AND c -> 'org_permissions' ? wanted, false) END
  FROM jwt_claims() AS c, (SELECT 'org:' || regexp_replace($1, '^(org:)*', '') AS wanted) AS w;
END;
--> statement-breakpoint
-- These ask the tables, with the rights of their owner: whoever may call them needs none on the tables.
CREATE FUNCTION is_member(organization_id text, user_id text DEFAULT jwt_user_id()) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
BEGIN ATOMIC
  SELECT CASE WHEN $1 IS NOT NULL AND $2 IS NOT NULL
    THEN EXISTS (SELECT FROM living_memberships m WHERE m.organization_id = $1 AND m.user_id = $2) END;
END;
--> statement-breakpoint
CREATE FUNCTION has_permission(organization_id text, permission text, user_id text DEFAULT jwt_user_id()) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
BEGIN ATOMIC
  SELECT CASE WHEN $1 IS NOT NULL AND $2 IS NOT NULL AND $3 IS NOT NULL
    THEN EXISTS (SELECT FROM living_memberships m WHERE m.organization_id = $1 AND m.user_id = $3
      AND 'org:' || regexp_replace($2, '^(org:)*', '') = ANY (m.permissions)) END;
END;

-- Of the memberships of one user in one organization only the newest counts: the end of an older one may arrive late.
CREATE OR REPLACE VIEW living_memberships AS
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
  AND NOT EXISTS (SELECT FROM organization_memberships n
    WHERE n.user_id = m.user_id AND n.organization_id = m.organization_id AND n.clerk_created_at > m.clerk_created_at)
  AND NOT EXISTS (SELECT FROM users u WHERE u.id = m.user_id AND u.deleted_at IS NOT NULL)
  AND NOT EXISTS (SELECT FROM organizations o WHERE o.id = m.organization_id AND o.deleted_at IS NOT NULL);

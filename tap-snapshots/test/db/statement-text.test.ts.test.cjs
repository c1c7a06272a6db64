/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > auth_states 1`] = `
select k.n, u.id, u.email, u.email_verified, u.first_name, u.last_name, u.username, u.image_url, u.public_metadata::text, round(date_part('epoch', u.last_sign_in_at) * 1000) as last_sign_in_at, u.external_id, u.phone_number, u.banned, u.deprovisioned, u.sync_source, round(date_part('epoch', u.created_at) * 1000) as created_at, round(date_part('epoch', u.updated_at) * 1000) as updated_at, round(date_part('epoch', u.deleted_at) * 1000) as deleted_at,
    s.status as session_status
  from unnest((select $1::text[]), (select $2::text[])) with ordinality as k(user_id, session_id, n)
  left join "clerk"."users" u on u.id = k.user_id
  left join "clerk"."sessions" s on s.id = k.session_id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > auth_states_membership 1`] = `
select k.n, u.id, u.email, u.email_verified, u.first_name, u.last_name, u.username, u.image_url, u.public_metadata::text, round(date_part('epoch', u.last_sign_in_at) * 1000) as last_sign_in_at, u.external_id, u.phone_number, u.banned, u.deprovisioned, u.sync_source, round(date_part('epoch', u.created_at) * 1000) as created_at, round(date_part('epoch', u.updated_at) * 1000) as updated_at, round(date_part('epoch', u.deleted_at) * 1000) as deleted_at,
    s.status as session_status, o.id is not null as organization_known, o.name as organization_name, o.slug as organization_slug,
    o.deleted_at is not null as organization_deleted, membership.role as membership_role,
    membership.permissions as membership_permissions, (extract(epoch from membership.ended_at) * 1000)::float8 as membership_ended_at,
    (extract(epoch from membership.clerk_updated_at) * 1000)::float8 as membership_at,
    (extract(epoch from membership.clerk_event_at) * 1000)::float8 as membership_event_at, role.permissions as role_permissions, (extract(epoch from role.clerk_updated_at) * 1000)::float8 as role_at,
    (extract(epoch from role.clerk_event_at) * 1000)::float8 as role_event_at
  from unnest((select $1::text[]), (select $2::text[]), (select $3::text[]), (select $4::text[]), (select $5::float8[])) with ordinality as k(user_id, session_id, organization_id, role, issued_at, n)
  left join "clerk"."users" u on u.id = k.user_id
  left join "clerk"."sessions" s on s.id = k.session_id
  left join "clerk"."organizations" o on o.id = k.organization_id
  left join lateral (
    select m.role, m.permissions, m.clerk_updated_at, m.clerk_event_at, m.ended_at from "clerk"."organization_memberships" m
    where m.user_id = k.user_id and m.organization_id = k.organization_id
    order by m.clerk_created_at desc nulls last, m.ended_at desc nulls first, m.clerk_updated_at desc limit 1) membership on true
  left join lateral (
    select r.permissions, r.clerk_updated_at, r.clerk_event_at from "clerk"."organization_roles" r
    where r.deleted_at is null and r.key = case
      when membership.ended_at is null and membership.clerk_updated_at > to_timestamp(k.issued_at / 1000)
      then membership.role else k.role end
    order by r.clerk_updated_at desc, r.clerk_event_at desc nulls last, r.id limit 1) role on true
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_consumers_advance 1`] = `
update "clerk"."change_consumers" set xid = $2::xid8, seq = $3::bigint, updated_at = now()
  where name = $1 and (xid, seq) < ($2::xid8, $3::bigint)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_consumers_find 1`] = `
select xid::text, seq::text from "clerk"."change_consumers" where name = $1
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_consumers_insert 1`] = `
insert into "clerk"."change_consumers" (name, xid, seq)
  values ($1, pg_snapshot_xmin(pg_current_snapshot()), 0) on conflict (name) do nothing
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_consumers_status 1`] = `
select c.name,
    (select count(*)::int from (select from "clerk"."changes" f where (f.xid, f.seq) > (c.xid, c.seq) limit 10000) b) as behind,
    coalesce((select greatest(extract(epoch from clock_timestamp() - f.occurred_at), 0)::float8 from "clerk"."changes" f
      where (f.xid, f.seq) > (c.xid, c.seq) order by f.xid, f.seq limit 1), 0) as "lagSeconds",
    (select count(*)::int from "clerk"."change_deliveries" d where d.consumer = c.name and d.dead_at is null) as waiting,
    (select count(*)::int from "clerk"."change_deliveries" d where d.consumer = c.name and d.dead_at is not null) as dead
  from "clerk"."change_consumers" c order by c.name
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_deliveries_dead 1`] = `
select d.consumer, d.xid::text as xid, d.seq::text as seq, d.entity, d.entity_id, d.op, d.changed, d.cause,
    (extract(epoch from d.occurred_at) * 1000)::float8 as occurred_at, d.attempts, d.error, (extract(epoch from d.dead_at) * 1000)::float8 as dead_at
  from "clerk"."change_deliveries" d where d.dead_at is not null and ($1::text is null or d.consumer = $1) and ($2::text[] is null or 'chg_' || d.seq = any($2))
  order by d.consumer, d.xid, d.seq limit $3
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_deliveries_due 1`] = `
select d.xid::text as xid, d.seq::text as seq, d.entity, d.entity_id, d.op, d.changed, d.cause,
    (extract(epoch from d.occurred_at) * 1000)::float8 as occurred_at, d.attempts, (extract(epoch from d.next_attempt_at) * 1000)::float8 as next_attempt_at
  from "clerk"."change_deliveries" d where d.consumer = $1 and d.next_attempt_at <= now() order by d.xid, d.seq limit 1000
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_deliveries_keep 1`] = `
insert into "clerk"."change_deliveries" as d
    (consumer, xid, seq, entity, entity_id, op, changed, cause, occurred_at, attempts, next_attempt_at, dead_at, error)
  select $1::text, i.xid::xid8, i.seq, i.entity, i.entity_id, i.op,
    array(select json_array_elements_text(i.changed)), i.cause, i.occurred_at,
    i.attempts, to_timestamp(i.next_attempt_at / 1000), case when i.is_dead then now() end, i.error
  from json_to_recordset($2::json) as i(xid text, seq bigint, entity text, entity_id text, op text, changed json,
    cause text, occurred_at timestamptz, attempts int, next_attempt_at float8, is_dead boolean, error text)
  on conflict (consumer, xid, seq) do update set attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at,
    dead_at = excluded.dead_at, error = excluded.error
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_deliveries_prune 1`] = `
delete from "clerk"."change_deliveries" where dead_at < now() - make_interval(days => $1::int)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_deliveries_remove 1`] = `
delete from "clerk"."change_deliveries" d
  using json_to_recordset($2::json) as i(xid text, seq bigint)
  where d.consumer = $1 and d.xid = i.xid::xid8 and d.seq = i.seq
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_deliveries_revive 1`] = `
update "clerk"."change_deliveries" d set dead_at = null, attempts = 0, next_attempt_at = now(), error = null
  where d.dead_at is not null and ($1::text is null or d.consumer = $1) and ($2::text[] is null or 'chg_' || d.seq = any($2)) returning d.consumer, d.seq::text
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > change_deliveries_waiting 1`] = `
select d.xid::text as xid, d.seq::text as seq, d.entity, d.entity_id, d.op, d.changed, d.cause,
    (extract(epoch from d.occurred_at) * 1000)::float8 as occurred_at, d.attempts, (extract(epoch from d.next_attempt_at) * 1000)::float8 as next_attempt_at
  from "clerk"."change_deliveries" d where d.consumer = $1 and d.dead_at is null order by d.xid, d.seq
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > changes_delay 1`] = `
select * from (
    select a.pid, null as prepared, extract(epoch from clock_timestamp() - a.xact_start)::float8 as "ageSeconds",
      age(a.backend_xid) as transactions
    from pg_stat_activity a where a.backend_xid is not null and a.pid <> pg_backend_pid()
    union all
    select null, p.gid, extract(epoch from clock_timestamp() - p.prepared)::float8, age(p.transaction) from pg_prepared_xacts p) o,
    (select exists (select from "clerk"."changes" where xid >= pg_snapshot_xmin(pg_current_snapshot())) as is_held) h
  order by o.transactions desc limit 1
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > changes_latest 1`] = `
select pg_snapshot_xmin(pg_current_snapshot())::text as xid
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > changes_own 1`] = `
select c.xid::text as xid, c.seq::text as seq, c.entity, c.entity_id, c.op, c.changed, c.cause,
    (extract(epoch from c.occurred_at) * 1000)::float8 as occurred_at from "clerk"."changes" c
  where c.xid >= pg_current_xact_id_if_assigned() and c.xmin = pg_current_xact_id_if_assigned()::xid
  order by c.seq
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > changes_prune 1`] = `
with lock as materialized (select pg_try_advisory_xact_lock(1886549358, hashtext('clerk')) as taken),
  oldest as materialized (
    select xid, seq, occurred_at from "clerk"."changes"
    where (select taken from lock) and xid < pg_snapshot_xmin(pg_current_snapshot())
    order by xid, seq limit 1000),
  gone as (
    delete from "clerk"."changes" c using oldest o
    where c.xid = o.xid and c.seq = o.seq and o.occurred_at < now() - make_interval(days => $1::int)
    returning c.xid, c.seq),
  place as (
    insert into "clerk"."sync_state" (job, state)
    select 'changes pruned', jsonb_build_object('xid', xid::text, 'seq', seq::text) from gone order by xid desc, seq desc limit 1
    on conflict (job) do update set state = excluded.state, updated_at = now())
  select count(*)::int as pruned from gone
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > changes_read 1`] = `
select e.*, pg_snapshot_xmin(pg_current_snapshot())::text as horizon, pg_snapshot_xmax(pg_current_snapshot())::text as newest,
    (select state from "clerk"."sync_state" where job = 'changes pruned') as pruned,
    exists (select from "clerk"."changes" where xid >= pg_snapshot_xmin(pg_current_snapshot())) as is_held
  from (select) here left join (
    select c.xid::text as xid, c.seq::text as seq, c.entity, c.entity_id, c.op, c.changed, c.cause,
    (extract(epoch from c.occurred_at) * 1000)::float8 as occurred_at, c.xid as by_xid, c.seq as by_seq from "clerk"."changes" c
    where (c.xid, c.seq) > ($1::xid8, $2::bigint) and c.xid < pg_snapshot_xmin(pg_current_snapshot())
    order by c.xid, c.seq limit $3) e on true
  order by e.by_xid, e.by_seq
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > changes_unrecorded 1`] = `
select coalesce(array_agg(name order by name), '{}') as tables from unnest($1::text[]) name
  where (select count(*) from pg_trigger g where g.tgrelid = to_regclass('clerk' || '.' || name)
    and g.tgname = any($2) and g.tgenabled <> 'D') < 4
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > connections 1`] = `
select count(*)::int as connections, current_setting('max_connections')::int as "maxConnections"
  from pg_stat_activity where backend_type = 'client backend'
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > dashboard_buckets 1`] = `
with charted as (
    select type, outcome, floor(extract(epoch from received_at) / $1::int)::bigint as n,
      case when outcome = 'applied' then greatest(extract(epoch from processed_at - event_at), 0)::float8 end as delay
    from "clerk"."webhook_events"
    where received_at >= to_timestamp((floor(extract(epoch from now()) / $1::int)::bigint - $2::int + 1) * $1::int)
    order by received_at desc limit 50000),
  counted as (
    select n, (count(*) filter (where outcome = 'applied'))::int as applied, (count(*) filter (where outcome = 'stale'))::int as stale,
      (count(*) filter (where outcome = 'ignored'))::int as ignored, (count(*) filter (where outcome = 'failed'))::int as failed,
      (count(*) filter (where type = 'user.created' and outcome in ('applied', 'stale')))::int as created,
      (count(*) filter (where type = 'user.deleted' and outcome in ('applied', 'stale')))::int as deleted,
      percentile_cont(0.5) within group (order by delay) as median,
      percentile_cont(0.95) within group (order by delay) as p95
    from charted group by n)
  select to_char(to_timestamp(b.n * $1::int) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at, coalesce(applied, 0) as applied, coalesce(stale, 0) as stale,
    coalesce(ignored, 0) as ignored, coalesce(failed, 0) as failed, coalesce(created, 0) as "usersCreated",
    coalesce(deleted, 0) as "usersDeleted", median as "delayMedianSeconds", p95 as "delayP95Seconds"
  from generate_series((floor(extract(epoch from now()) / $1::int)::bigint - $2::int + 1), floor(extract(epoch from now()) / $1::int)::bigint) as b(n) left join counted using (n) order by b.n
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > dashboard_events 1`] = `
select id, type, outcome, to_char(received_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "receivedAt"
  from (select * from "clerk"."webhook_events" order by received_at desc limit 10000) r where object_id = any($1::text[]) order by received_at desc limit 20
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > dashboard_failed 1`] = `
select id, type, object_id as "objectId", left(error, 1000) as error, attempts, to_char(received_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "receivedAt",
    payload is not null as "isReplayable"
  from "clerk"."webhook_events" e where (e.outcome = 'failed' and not (exists (select 1 from "clerk"."users" u where u.id in (e.object_id, e.user_id)
    and ((u.deleted_at is not null and (u.sync_source <> 'clerk_api' or e.event_at <= u.deleted_at)) or u.id = e.object_id and greatest(u.clerk_updated_at, u.clerk_event_at) > e.event_at)) or exists (select 1 from "clerk"."sessions" s where s.id = e.object_id
    and greatest(s.clerk_updated_at, s.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organizations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_memberships" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_roles" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_invitations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at))) order by received_at desc, id limit 100
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > dashboard_last_of_type 1`] = `
select type, count(*)::int as messages, to_char(max(received_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "lastReceivedAt",
    (array_agg(outcome order by received_at desc))[1] as "lastOutcome"
  from (select * from "clerk"."webhook_events" order by received_at desc limit 10000) r group by type order by max(received_at) desc limit 50
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > dashboard_memberships 1`] = `
select m.organization_id as "organizationId", o.name as organization, m.user_id as "userId", u.email, m.role,
    to_char(m.clerk_updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "updatedAt", to_char(m.ended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "endedAt"
  from (
    select * from (
      (select * from "clerk"."organization_memberships" where user_id = any($1::text[]) limit 1000)
      union all (select * from "clerk"."organization_memberships" where organization_id = $2 limit 1000)) found
    order by ended_at desc nulls first, clerk_updated_at desc, id limit 20) m
  left join "clerk"."organizations" o on o.id = m.organization_id
  left join "clerk"."users" u on u.id = m.user_id
  order by m.ended_at desc nulls first, m.clerk_updated_at desc, m.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > dashboard_sessions 1`] = `
select id, user_id as "userId", status, to_char(clerk_updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "updatedAt"
  from "clerk"."sessions" where user_id = any($1::text[]) order by clerk_updated_at desc limit 20
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > dashboard_users 1`] = `
select id, email, nullif(concat_ws(' ', first_name, last_name), '') as name, banned as "isBanned",
    sync_source as "syncSource", to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "createdAt", to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "updatedAt",
    to_char(deleted_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "deletedAt"
  from "clerk"."users" where id = $1 or email = $1 or email = lower($1) order by id limit 10
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > invitation_locked 1`] = `
with free as (select id from "clerk"."organization_invitations" where id = any($1::text[]) for no key update skip locked)
  select distinct id as id from "clerk"."organization_invitations" where id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > invitation_upsert 1`] = `
insert into "clerk"."organization_invitations" as r (id, organization_id, email, role, status, user_id, clerk_created_at, clerk_updated_at, clerk_event_at, clerk_heard_at, sync_source, deleted_at)
  select i.id, i.organization_id, case when u.id is null then i.email end, i.role, i.status, i.user_id, to_timestamp(i.clerk_created_at / 1000), to_timestamp(i.clerk_updated_at / 1000), to_timestamp(i.clerk_event_at / 1000), to_timestamp(i.clerk_heard_at / 1000), i.sync_source, to_timestamp(i.deleted_at / 1000)
  from json_to_recordset($1::json) as i(id text, organization_id text, email text, role text, status text, user_id text, clerk_created_at float8, clerk_updated_at float8, clerk_event_at float8, clerk_heard_at float8, sync_source text, deleted_at float8)
  left join "clerk"."users" u on u.id = i.user_id and u.deleted_at is not null and u.sync_source <> 'clerk_api'
  order by i.id
  on conflict (id) do update set
    organization_id = excluded.organization_id, email = excluded.email, role = excluded.role, status = excluded.status, user_id = excluded.user_id, clerk_created_at = excluded.clerk_created_at, clerk_updated_at = excluded.clerk_updated_at, clerk_event_at = excluded.clerk_event_at, clerk_heard_at = greatest(r.clerk_heard_at, excluded.clerk_heard_at), sync_source = excluded.sync_source, deleted_at = excluded.deleted_at,
    updated_at = case when (r.organization_id, r.email, r.role, r.status, r.user_id, r.deleted_at) is distinct from
      (excluded.organization_id, excluded.email, excluded.role, excluded.status, excluded.user_id, excluded.deleted_at) then now() else r.updated_at end
  where case
    when r.deleted_at is not null and r.sync_source <> 'clerk_api'
      then excluded.sync_source <> 'clerk_api' and excluded.deleted_at < r.deleted_at
    when excluded.deleted_at is not null and excluded.sync_source <> 'clerk_api' then true
    when excluded.deleted_at is not null
      then r.deleted_at is null and excluded.deleted_at > coalesce(r.clerk_heard_at, '-infinity')
    when r.deleted_at is not null then excluded.clerk_heard_at > r.deleted_at
    else (excluded.status <> 'pending', excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) >= (r.status <> 'pending', r.clerk_updated_at, coalesce(r.clerk_event_at, '-infinity'))
      and (excluded.sync_source <> 'clerk_api' or (excluded.status <> 'pending', excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) > (r.status <> 'pending', r.clerk_updated_at, coalesce(r.clerk_event_at, '-infinity')) or (r.organization_id, r.email, r.role, r.status, r.user_id, r.deleted_at) is distinct from
      (excluded.organization_id, excluded.email, excluded.role, excluded.status, excluded.user_id, excluded.deleted_at)) end
  returning r.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > invitation_user_id_locked 1`] = `
with free as (select id from "clerk"."organization_invitations" where user_id = any($1::text[]) for no key update skip locked)
  select distinct user_id as id from "clerk"."organization_invitations" where user_id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > invitations_erase 1`] = `
with erased as (
    select id from "clerk"."organization_invitations" where user_id = any($1::text[]) and email is not null
    order by id for no key update)
  update "clerk"."organization_invitations" r set email = null, updated_at = now() from erased where r.id = erased.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > lease_give_up 1`] = `
delete from "clerk"."sync_state" where job = 'lease ' || $1::text and state->>'holder' = $2
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > lease_take 1`] = `
insert into "clerk"."sync_state" as l (job, state)
  values ('lease ' || $1::text, jsonb_build_object('holder', $2::text, 'until', extract(epoch from now())::float8 + $3::float8))
  on conflict (job) do update set state = excluded.state, updated_at = now()
  where l.state->>'holder' = $2 or (l.state->>'until')::float8 < extract(epoch from now())::float8
  returning job
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > locks 1`] = `
select pg_advisory_xact_lock(hashtext('clerk'), h)
  from (select distinct hashtext(key) as h from unnest($1::text[]) as key order by h) keys
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > membership_locked 1`] = `
with free as (select id from "clerk"."organization_memberships" where id = any($1::text[]) for no key update skip locked)
  select distinct id as id from "clerk"."organization_memberships" where id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > membership_organization_id_locked 1`] = `
with free as (select id from "clerk"."organization_memberships" where organization_id = any($1::text[]) for no key update skip locked)
  select distinct organization_id as id from "clerk"."organization_memberships" where organization_id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > membership_upsert 1`] = `
insert into "clerk"."organization_memberships" as r (id, organization_id, user_id, role, permissions, public_metadata, clerk_created_at, clerk_updated_at, clerk_event_at, clerk_heard_at, sync_source, deleted_at, ended_at)
  select i.id, i.organization_id, i.user_id, i.role, i.permissions, case when coalesce(to_timestamp(i.deleted_at / 1000), u.deleted_at, o.deleted_at) is null then i.public_metadata else '{}' end, to_timestamp(i.clerk_created_at / 1000), to_timestamp(i.clerk_updated_at / 1000), to_timestamp(i.clerk_event_at / 1000), to_timestamp(i.clerk_heard_at / 1000), i.sync_source, to_timestamp(i.deleted_at / 1000), coalesce(to_timestamp(i.deleted_at / 1000), least(u.deleted_at, o.deleted_at))
  from json_to_recordset($1::json) as i(id text, organization_id text, user_id text, role text, permissions text[], public_metadata jsonb, clerk_created_at float8, clerk_updated_at float8, clerk_event_at float8, clerk_heard_at float8, sync_source text, deleted_at float8, ended_at timestamp (3) with time zone)
  left join "clerk"."users" u on u.id = i.user_id and u.deleted_at is not null and u.sync_source <> 'clerk_api'
  left join "clerk"."organizations" o on o.id = i.organization_id and o.deleted_at is not null and o.sync_source <> 'clerk_api'
  order by i.id
  on conflict (id) do update set
    organization_id = excluded.organization_id, user_id = excluded.user_id, role = excluded.role, permissions = excluded.permissions, public_metadata = excluded.public_metadata, clerk_created_at = excluded.clerk_created_at, clerk_updated_at = excluded.clerk_updated_at, clerk_event_at = excluded.clerk_event_at, clerk_heard_at = greatest(r.clerk_heard_at, excluded.clerk_heard_at), sync_source = excluded.sync_source, deleted_at = excluded.deleted_at, ended_at = excluded.ended_at,
    updated_at = case when (r.organization_id, r.user_id, r.role, r.permissions, r.public_metadata, r.ended_at, r.deleted_at) is distinct from
      (excluded.organization_id, excluded.user_id, excluded.role, excluded.permissions, excluded.public_metadata, excluded.ended_at, excluded.deleted_at) then now() else r.updated_at end
  where case
    when r.deleted_at is not null and r.sync_source <> 'clerk_api'
      then excluded.sync_source <> 'clerk_api' and excluded.deleted_at < r.deleted_at
    when excluded.deleted_at is not null and excluded.sync_source <> 'clerk_api' then true
    when excluded.deleted_at is not null
      then r.deleted_at is null and excluded.deleted_at > coalesce(r.clerk_heard_at, '-infinity')
    when r.deleted_at is not null then excluded.clerk_heard_at > r.deleted_at
    else (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) >= (r.clerk_updated_at, coalesce(r.clerk_event_at, '-infinity'))
      and (excluded.sync_source <> 'clerk_api' or (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) > (r.clerk_updated_at, coalesce(r.clerk_event_at, '-infinity')) or (r.organization_id, r.user_id, r.role, r.permissions, r.public_metadata, r.ended_at, r.deleted_at) is distinct from
      (excluded.organization_id, excluded.user_id, excluded.role, excluded.permissions, excluded.public_metadata, excluded.ended_at, excluded.deleted_at)) end
  returning r.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > membership_user_id_locked 1`] = `
with free as (select id from "clerk"."organization_memberships" where user_id = any($1::text[]) for no key update skip locked)
  select distinct user_id as id from "clerk"."organization_memberships" where user_id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > memberships_end 1`] = `
with ended as (
    select m.id, least(u.deleted_at, o.deleted_at) as ended_at
    from "clerk"."organization_memberships" m left join "clerk"."users" u on u.id = m.user_id and u.deleted_at is not null and u.sync_source <> 'clerk_api'
  left join "clerk"."organizations" o on o.id = m.organization_id and o.deleted_at is not null and o.sync_source <> 'clerk_api'
    where (m.user_id = any($1::text[]) or m.organization_id = any($2::text[])) and m.deleted_at is null
    order by m.id
    for no key update of m)
  update "clerk"."organization_memberships" m set ended_at = ended.ended_at, public_metadata = '{}', updated_at = now()
  from ended where m.id = ended.id and m.ended_at is distinct from ended.ended_at
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > memberships_of_user 1`] = `
select o.id, o.name, o.slug, o.image_url, o.public_metadata::text, m.role,
    coalesce(r.permissions, m.permissions) as permissions,
    (extract(epoch from coalesce(m.clerk_created_at, m.created_at)) * 1000)::float8 as joined_at
  from "clerk"."organization_memberships" m
  join "clerk"."organizations" o on o.id = m.organization_id and o.deleted_at is null
  left join lateral (
    select newest.permissions from (
      select permissions, clerk_updated_at, clerk_event_at from "clerk"."organization_roles"
      where key = m.role and deleted_at is null
      order by clerk_updated_at desc, clerk_event_at desc nulls last, id limit 1) newest
    where (newest.clerk_updated_at, coalesce(newest.clerk_event_at, '-infinity'))
      > (m.clerk_updated_at, coalesce(m.clerk_event_at, '-infinity'))) r on true
  where m.user_id = $1 and m.ended_at is null and not exists (select from "clerk"."organization_memberships" n
    where n.user_id = m.user_id and n.organization_id = m.organization_id and n.clerk_created_at > m.clerk_created_at)
  order by o.name, o.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > organization_locked 1`] = `
with free as (select id from "clerk"."organizations" where id = any($1::text[]) for no key update skip locked)
  select distinct id as id from "clerk"."organizations" where id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > organization_upsert 1`] = `
insert into "clerk"."organizations" as r (id, name, slug, image_url, public_metadata, created_by, clerk_created_at, clerk_updated_at, clerk_event_at, clerk_heard_at, sync_source, deleted_at)
  select i.id, i.name, i.slug, i.image_url, i.public_metadata, i.created_by, to_timestamp(i.clerk_created_at / 1000), to_timestamp(i.clerk_updated_at / 1000), to_timestamp(i.clerk_event_at / 1000), to_timestamp(i.clerk_heard_at / 1000), i.sync_source, to_timestamp(i.deleted_at / 1000)
  from json_to_recordset($1::json) as i(id text, name text, slug text, image_url text, public_metadata jsonb, created_by text, clerk_created_at float8, clerk_updated_at float8, clerk_event_at float8, clerk_heard_at float8, sync_source text, deleted_at float8)
  
  order by i.id
  on conflict (id) do update set
    name = excluded.name, slug = excluded.slug, image_url = excluded.image_url, public_metadata = excluded.public_metadata, created_by = excluded.created_by, clerk_created_at = excluded.clerk_created_at, clerk_updated_at = excluded.clerk_updated_at, clerk_event_at = excluded.clerk_event_at, clerk_heard_at = greatest(r.clerk_heard_at, excluded.clerk_heard_at), sync_source = excluded.sync_source, deleted_at = excluded.deleted_at,
    updated_at = case when (r.name, r.slug, r.image_url, r.public_metadata, r.created_by, r.deleted_at) is distinct from
      (excluded.name, excluded.slug, excluded.image_url, excluded.public_metadata, excluded.created_by, excluded.deleted_at) then now() else r.updated_at end
  where case
    when r.deleted_at is not null and r.sync_source <> 'clerk_api'
      then excluded.sync_source <> 'clerk_api' and excluded.deleted_at < r.deleted_at
    when excluded.deleted_at is not null and excluded.sync_source <> 'clerk_api' then true
    when excluded.deleted_at is not null
      then r.deleted_at is null and excluded.deleted_at > coalesce(r.clerk_heard_at, '-infinity')
    when r.deleted_at is not null then excluded.clerk_heard_at > r.deleted_at
    else (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) >= (r.clerk_updated_at, coalesce(r.clerk_event_at, '-infinity'))
      and (excluded.sync_source <> 'clerk_api' or (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) > (r.clerk_updated_at, coalesce(r.clerk_event_at, '-infinity')) or (r.name, r.slug, r.image_url, r.public_metadata, r.created_by, r.deleted_at) is distinct from
      (excluded.name, excluded.slug, excluded.image_url, excluded.public_metadata, excluded.created_by, excluded.deleted_at)) end
  returning r.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > role_locked 1`] = `
with free as (select id from "clerk"."organization_roles" where id = any($1::text[]) for no key update skip locked)
  select distinct id as id from "clerk"."organization_roles" where id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > role_upsert 1`] = `
insert into "clerk"."organization_roles" as r (id, key, name, permissions, clerk_created_at, clerk_updated_at, clerk_event_at, clerk_heard_at, sync_source, deleted_at)
  select i.id, i.key, i.name, i.permissions, to_timestamp(i.clerk_created_at / 1000), to_timestamp(i.clerk_updated_at / 1000), to_timestamp(i.clerk_event_at / 1000), to_timestamp(i.clerk_heard_at / 1000), i.sync_source, to_timestamp(i.deleted_at / 1000)
  from json_to_recordset($1::json) as i(id text, key text, name text, permissions text[], clerk_created_at float8, clerk_updated_at float8, clerk_event_at float8, clerk_heard_at float8, sync_source text, deleted_at float8)
  
  order by i.id
  on conflict (id) do update set
    key = excluded.key, name = excluded.name, permissions = excluded.permissions, clerk_created_at = excluded.clerk_created_at, clerk_updated_at = excluded.clerk_updated_at, clerk_event_at = excluded.clerk_event_at, clerk_heard_at = greatest(r.clerk_heard_at, excluded.clerk_heard_at), sync_source = excluded.sync_source, deleted_at = excluded.deleted_at,
    updated_at = case when (r.key, r.name, r.permissions, r.deleted_at) is distinct from
      (excluded.key, excluded.name, excluded.permissions, excluded.deleted_at) then now() else r.updated_at end
  where case
    when r.deleted_at is not null and r.sync_source <> 'clerk_api'
      then excluded.sync_source <> 'clerk_api' and excluded.deleted_at < r.deleted_at
    when excluded.deleted_at is not null and excluded.sync_source <> 'clerk_api' then true
    when excluded.deleted_at is not null
      then r.deleted_at is null and excluded.deleted_at > coalesce(r.clerk_heard_at, '-infinity')
    when r.deleted_at is not null then excluded.clerk_heard_at > r.deleted_at
    else (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) >= (r.clerk_updated_at, coalesce(r.clerk_event_at, '-infinity'))
      and (excluded.sync_source <> 'clerk_api' or (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) > (r.clerk_updated_at, coalesce(r.clerk_event_at, '-infinity')) or (r.key, r.name, r.permissions, r.deleted_at) is distinct from
      (excluded.key, excluded.name, excluded.permissions, excluded.deleted_at)) end
  returning r.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > seen_clear 1`] = `
delete from "clerk"."reconcile_seen" where id in (select id from "clerk"."reconcile_seen" limit 10000) returning id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > seen_insert 1`] = `
insert into "clerk"."reconcile_seen" select unnest($1::text[]) on conflict do nothing
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > session_locked 1`] = `
with free as (select id from "clerk"."sessions" where id = any($1::text[]) for no key update skip locked)
  select distinct id as id from "clerk"."sessions" where id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > session_user_id_locked 1`] = `
with free as (select id from "clerk"."sessions" where user_id = any($1::text[]) for no key update skip locked)
  select distinct user_id as id from "clerk"."sessions" where user_id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > sessions_end 1`] = `
update "clerk"."sessions" set status = 'ended', ended_by_deletion = true, updated_at = now()
  where user_id = any($1::text[]) and status not in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired')
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > sessions_prune 1`] = `
with lock as materialized (select pg_try_advisory_xact_lock(1886549358, hashtext('clerk')) as taken)
  delete from "clerk"."sessions" where id in (
    select id from "clerk"."sessions"
    where (select taken from lock) and status in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired') and updated_at < now() - make_interval(days => $1::int)
    order by updated_at limit 1000 for update skip locked)
  returning id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > sessions_prune_lapsed 1`] = `
with lock as materialized (select pg_try_advisory_xact_lock(1886549358, hashtext('clerk')) as taken)
  delete from "clerk"."sessions" where id in (
    select id from "clerk"."sessions"
    where (select taken from lock) and status not in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired') and greatest(expire_at, abandon_at) < now() - make_interval(days => $1::int)
    order by greatest(expire_at, abandon_at) limit 1000 for update skip locked)
  returning id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > sessions_upsert 1`] = `
insert into "clerk"."sessions" as s (id, user_id, client_id, status, ended_by_deletion,
    clerk_created_at, clerk_updated_at, clerk_event_at, last_active_at, expire_at, abandon_at)
  select i.id, i.user_id, i.client_id, case when (u.id is not null and i.status not in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired')) then 'ended' else i.status end, (u.id is not null and i.status not in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired')),
    to_timestamp(i.clerk_created_at / 1000), to_timestamp(i.clerk_updated_at / 1000), to_timestamp(i.clerk_event_at / 1000),
    to_timestamp(i.last_active_at / 1000), to_timestamp(i.expire_at / 1000), to_timestamp(i.abandon_at / 1000)
  from json_to_recordset($1::json) as i(id text, user_id text, client_id text, status text,
    clerk_created_at float8, clerk_updated_at float8, clerk_event_at float8,
    last_active_at float8, expire_at float8, abandon_at float8)
  left join "clerk"."users" u on u.id = i.user_id and u.deleted_at is not null and u.sync_source <> 'clerk_api'
  order by i.id
  on conflict (id) do update set
    user_id = excluded.user_id, client_id = excluded.client_id, status = excluded.status,
    ended_by_deletion = excluded.ended_by_deletion, clerk_created_at = excluded.clerk_created_at,
    clerk_updated_at = excluded.clerk_updated_at, clerk_event_at = excluded.clerk_event_at,
    last_active_at = excluded.last_active_at, expire_at = excluded.expire_at, abandon_at = excluded.abandon_at,
    updated_at = now()
  where (excluded.status in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired') and not excluded.ended_by_deletion,
    excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity'), excluded.status) >= (s.status in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired') and not s.ended_by_deletion,
    s.clerk_updated_at, coalesce(s.clerk_event_at, '-infinity'), s.status)
  returning s.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > sync_state_delete 1`] = `
delete from "clerk"."sync_state" where job = $1
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > sync_state_insert 1`] = `
insert into "clerk"."sync_state" (job, state) values ($1, $2::jsonb) on conflict (job) do nothing
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > sync_state_select 1`] = `
select state from "clerk"."sync_state" where job = $1
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > sync_state_upsert 1`] = `
insert into "clerk"."sync_state" (job, state) values ($1, $2::jsonb)
  on conflict (job) do update set state = excluded.state, updated_at = now()
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > table_sizes 1`] = `
select 'users' as name,
    case when counted < 10000 then counted else greatest(counted, s.n_live_tup) end::float8 as rows,
    pg_total_relation_size(s.relid)::float8 as bytes
  from pg_stat_user_tables s, (select count(*) as counted from (select from "clerk"."users" limit 10000) r) c
  where s.relid = ('clerk' || '.users')::regclass union all select 'sessions' as name,
    case when counted < 10000 then counted else greatest(counted, s.n_live_tup) end::float8 as rows,
    pg_total_relation_size(s.relid)::float8 as bytes
  from pg_stat_user_tables s, (select count(*) as counted from (select from "clerk"."sessions" limit 10000) r) c
  where s.relid = ('clerk' || '.sessions')::regclass union all select 'organizations' as name,
    case when counted < 10000 then counted else greatest(counted, s.n_live_tup) end::float8 as rows,
    pg_total_relation_size(s.relid)::float8 as bytes
  from pg_stat_user_tables s, (select count(*) as counted from (select from "clerk"."organizations" limit 10000) r) c
  where s.relid = ('clerk' || '.organizations')::regclass union all select 'organization_memberships' as name,
    case when counted < 10000 then counted else greatest(counted, s.n_live_tup) end::float8 as rows,
    pg_total_relation_size(s.relid)::float8 as bytes
  from pg_stat_user_tables s, (select count(*) as counted from (select from "clerk"."organization_memberships" limit 10000) r) c
  where s.relid = ('clerk' || '.organization_memberships')::regclass union all select 'organization_roles' as name,
    case when counted < 10000 then counted else greatest(counted, s.n_live_tup) end::float8 as rows,
    pg_total_relation_size(s.relid)::float8 as bytes
  from pg_stat_user_tables s, (select count(*) as counted from (select from "clerk"."organization_roles" limit 10000) r) c
  where s.relid = ('clerk' || '.organization_roles')::regclass union all select 'organization_invitations' as name,
    case when counted < 10000 then counted else greatest(counted, s.n_live_tup) end::float8 as rows,
    pg_total_relation_size(s.relid)::float8 as bytes
  from pg_stat_user_tables s, (select count(*) as counted from (select from "clerk"."organization_invitations" limit 10000) r) c
  where s.relid = ('clerk' || '.organization_invitations')::regclass union all select 'webhook_events' as name,
    case when counted < 10000 then counted else greatest(counted, s.n_live_tup) end::float8 as rows,
    pg_total_relation_size(s.relid)::float8 as bytes
  from pg_stat_user_tables s, (select count(*) as counted from (select from "clerk"."webhook_events" limit 10000) r) c
  where s.relid = ('clerk' || '.webhook_events')::regclass order by 1
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > table_statistics 1`] = `
select (
  select case when c.reltuples >= 1000 then c.reltuples::float8
    else (select count(*) from (select 1 from "clerk"."users" limit 1000) r)::float8 end
  from pg_class c where c.oid = ('clerk' || '.users')::regclass) as users, (
  select case when c.reltuples >= 1000 then c.reltuples::float8
    else (select count(*) from (select 1 from "clerk"."sessions" limit 1000) r)::float8 end
  from pg_class c where c.oid = ('clerk' || '.sessions')::regclass) as sessions,
    (
  select case when c.reltuples >= 1000 then c.reltuples::float8
    else (select count(*) from (select 1 from "clerk"."organizations" limit 1000) r)::float8 end
  from pg_class c where c.oid = ('clerk' || '.organizations')::regclass) as organizations, (
  select case when c.reltuples >= 1000 then c.reltuples::float8
    else (select count(*) from (select 1 from "clerk"."organization_memberships" limit 1000) r)::float8 end
  from pg_class c where c.oid = ('clerk' || '.organization_memberships')::regclass) as memberships,
    (select count(*)::int from (select 1 from "clerk"."webhook_events" e where (e.outcome = 'failed' and not (exists (select 1 from "clerk"."users" u where u.id in (e.object_id, e.user_id)
    and ((u.deleted_at is not null and (u.sync_source <> 'clerk_api' or e.event_at <= u.deleted_at)) or u.id = e.object_id and greatest(u.clerk_updated_at, u.clerk_event_at) > e.event_at)) or exists (select 1 from "clerk"."sessions" s where s.id = e.object_id
    and greatest(s.clerk_updated_at, s.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organizations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_memberships" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_roles" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_invitations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at))) limit 1000) f) as "failedEvents",
    extract(epoch from (select max(received_at) from "clerk"."webhook_events" where type <> 'clerk-session-sync.test'))::float8 as "lastReceivedAt"
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > user_events 1`] = `
select to_jsonb(e) - 'payload' as row from (select * from "clerk"."webhook_events" order by received_at desc limit 100000) e
  where object_id = any($1::text[]) order by received_at desc limit 20
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > user_locked 1`] = `
with free as (select id from "clerk"."users" where id = any($1::text[]) for no key update skip locked)
  select distinct id as id from "clerk"."users" where id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > user_row 1`] = `
select to_jsonb(u) as row from "clerk"."users" u where id = $1
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > user_sessions 1`] = `
select to_jsonb(s) as row from "clerk"."sessions" s where user_id = $1 order by clerk_updated_at desc limit 20
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_compare 1`] = `
select i.id, (extract(epoch from u.clerk_updated_at) * 1000)::float8 as updated_at,
    (extract(epoch from u.clerk_event_at) * 1000)::float8 as event_at,
    case when u.id is null or (u.deleted_at is not null and u.sync_source = 'clerk_api') then 'missing'
      when u.deleted_at is not null then 'deleted'
      when u.clerk_updated_at is null or u.clerk_updated_at < to_timestamp(i.clerk_updated_at / 1000) then 'stale'
      when u.clerk_updated_at > to_timestamp(i.clerk_updated_at / 1000) then 'newer'
      when (u.email, u.email_verified, u.first_name, u.last_name, u.username, u.image_url, u.public_metadata, u.last_sign_in_at, u.external_id, u.phone_number, u.banned, u.locked, u.deprovisioned) is distinct from (i.email, i.email_verified, i.first_name, i.last_name, i.username, i.image_url, i.public_metadata, to_timestamp(i.last_sign_in_at / 1000), i.external_id, i.phone_number, i.banned, i.locked, i.deprovisioned) then 'different'
      else 'same' end as difference
  from json_to_recordset($1::json) as i(id text, clerk_updated_at float8, email text, email_verified boolean, first_name text, last_name text, username text, image_url text, public_metadata jsonb, last_sign_in_at float8, external_id text, phone_number text, banned boolean, locked boolean, deprovisioned boolean)
  left join "clerk"."users" u on u.id = i.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_created_before_count 1`] = `
select (select count(*) from "clerk"."users" where deleted_at is null and clerk_created_at < to_timestamp($1::float8 / 1000))::int
    + (select count(*) from "clerk"."users" where deleted_at is null and clerk_created_at is null and created_at < to_timestamp($1::float8 / 1000))::int as count
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_created_count 1`] = `
select c.count, (extract(epoch from (select clerk_created_at from "clerk"."users" where deleted_at is null and clerk_created_at >= to_timestamp($1::float8 / 1000) and clerk_created_at < to_timestamp($2::float8 / 1000)
    order by clerk_created_at offset c.count / 2 limit 1)) * 1000)::float8 as median
  from (select count(*)::int as count from "clerk"."users" where deleted_at is null and clerk_created_at >= to_timestamp($1::float8 / 1000) and clerk_created_at < to_timestamp($2::float8 / 1000)) c
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_created_ids 1`] = `
select id from "clerk"."users" where deleted_at is null and clerk_created_at >= to_timestamp($1::float8 / 1000) and clerk_created_at < to_timestamp($2::float8 / 1000) order by id limit $3::int
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_living 1`] = `
select u.id, (extract(epoch from u.clerk_updated_at) * 1000)::float8 as updated_at,
    (extract(epoch from u.clerk_event_at) * 1000)::float8 as event_at
  from "clerk"."users" u where u.id = any($1::text[]) and u.deleted_at is null
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_measure 1`] = `
select (extract(epoch from date_trunc('milliseconds', now())) * 1000)::float8 as now,
    (select count(*)::int from "clerk"."users" where deleted_at is null) as living
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_newest_version 1`] = `
select (extract(epoch from max(clerk_updated_at)) * 1000)::float8 as at from "clerk"."users"
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_rewind 1`] = `
with wrong as (
    select u.id, i.updated_at
    from "clerk"."users" u
    join json_to_recordset($1::json) as i(id text, updated_at float8, wrong_updated_at float8, wrong_event_at float8)
      on i.id = u.id
    where u.deleted_at is null
      and u.clerk_updated_at = to_timestamp(i.wrong_updated_at / 1000)
      and u.clerk_event_at is not distinct from to_timestamp(i.wrong_event_at / 1000)
    order by u.id
    for no key update of u)
  update "clerk"."users" u set clerk_updated_at = to_timestamp(wrong.updated_at / 1000), clerk_event_at = null
  from wrong where u.id = wrong.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_undated_ids 1`] = `
select id from "clerk"."users" where deleted_at is null and clerk_created_at is null and created_at < to_timestamp($1::float8 / 1000) order by id limit $2::int
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_unseen 1`] = `
select u.id, seen.id is not null as is_seen from (
    select id from "clerk"."users"
    where id > $1 and deleted_at is null and created_at <= to_timestamp($2::float8 / 1000)
    order by id limit $3::int) u
  left join "clerk"."reconcile_seen" seen on seen.id = u.id order by u.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_upsert 1`] = `
insert into "clerk"."users" as u (id, email, email_verified, first_name, last_name, username, image_url, public_metadata, last_sign_in_at, external_id, phone_number, banned, locked, deprovisioned, unsafe_metadata, private_metadata, clerk_created_at, clerk_updated_at, sync_source, clerk_event_at, clerk_asked_at, claims_issued_at, claims_columns, deleted_at)
  select i.id, i.email, i.email_verified, i.first_name, i.last_name, i.username, i.image_url, i.public_metadata, to_timestamp(i.last_sign_in_at / 1000), i.external_id, i.phone_number, i.banned, i.locked, i.deprovisioned, i.unsafe_metadata, i.private_metadata, to_timestamp(i.clerk_created_at / 1000), to_timestamp(i.clerk_updated_at / 1000), i.sync_source, to_timestamp(i.clerk_event_at / 1000), to_timestamp(i.clerk_asked_at / 1000), to_timestamp(i.claims_issued_at / 1000), i.claims_columns, to_timestamp(i.deleted_at / 1000)
  from json_to_recordset($1::json) as i(id text, email text, email_verified boolean, first_name text, last_name text, username text, image_url text, public_metadata jsonb, last_sign_in_at float8, external_id text, phone_number text, banned boolean, locked boolean, deprovisioned boolean, unsafe_metadata jsonb, private_metadata jsonb, clerk_created_at float8, clerk_updated_at float8, sync_source text, clerk_event_at float8, clerk_asked_at float8, claims_issued_at float8, claims_columns text[], deleted_at float8, session_id text)
  where i.claims_issued_at is null or not (
    exists (select 1 from "clerk"."sessions" s where s.id = i.session_id and s.status in ('ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired'))
    or exists (select 1 from "clerk"."users" u where u.id = i.id and not coalesce(u.deleted_at is null
      and ((u.clerk_updated_at is null or to_timestamp(i.claims_issued_at / 1000) > u.clerk_updated_at)
      and (u.claims_issued_at is null or to_timestamp(i.claims_issued_at / 1000) > u.claims_issued_at)
        or u.clerk_updated_at is null and not i.claims_columns <@ u.claims_columns), true)))
  order by i.id
  on conflict (id) do update set
    email = case
      when not (excluded.claims_issued_at is not null) then excluded.email
      when 'email' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('email' = any(u.claims_columns), false)) then excluded.email
      else u.email end, email_verified = case
      when not (excluded.claims_issued_at is not null) then excluded.email_verified
      when 'email_verified' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('email_verified' = any(u.claims_columns), false)) then excluded.email_verified
      else u.email_verified end, first_name = case
      when not (excluded.claims_issued_at is not null) then excluded.first_name
      when 'first_name' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('first_name' = any(u.claims_columns), false)) then excluded.first_name
      else u.first_name end, last_name = case
      when not (excluded.claims_issued_at is not null) then excluded.last_name
      when 'last_name' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('last_name' = any(u.claims_columns), false)) then excluded.last_name
      else u.last_name end, username = case
      when not (excluded.claims_issued_at is not null) then excluded.username
      when 'username' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('username' = any(u.claims_columns), false)) then excluded.username
      else u.username end, image_url = case
      when not (excluded.claims_issued_at is not null) then excluded.image_url
      when 'image_url' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('image_url' = any(u.claims_columns), false)) then excluded.image_url
      else u.image_url end, public_metadata = case
      when not (excluded.claims_issued_at is not null) then excluded.public_metadata
      when 'public_metadata' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('public_metadata' = any(u.claims_columns), false)) then excluded.public_metadata
      else u.public_metadata end, last_sign_in_at = case
      when not (excluded.claims_issued_at is not null) then excluded.last_sign_in_at
      when 'last_sign_in_at' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('last_sign_in_at' = any(u.claims_columns), false)) then excluded.last_sign_in_at
      else u.last_sign_in_at end, external_id = case
      when not (excluded.claims_issued_at is not null) then excluded.external_id
      when 'external_id' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('external_id' = any(u.claims_columns), false)) then excluded.external_id
      else u.external_id end, phone_number = case
      when not (excluded.claims_issued_at is not null) then excluded.phone_number
      when 'phone_number' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('phone_number' = any(u.claims_columns), false)) then excluded.phone_number
      else u.phone_number end,
    banned = case when excluded.claims_issued_at is not null then u.banned else excluded.banned end, locked = case when excluded.claims_issued_at is not null then u.locked else excluded.locked end, deprovisioned = case when excluded.claims_issued_at is not null then u.deprovisioned else excluded.deprovisioned end, unsafe_metadata = case when excluded.claims_issued_at is not null then u.unsafe_metadata else excluded.unsafe_metadata end, private_metadata = case when excluded.claims_issued_at is not null then u.private_metadata else excluded.private_metadata end, clerk_created_at = case when excluded.claims_issued_at is not null then u.clerk_created_at else excluded.clerk_created_at end,
    clerk_updated_at = case when excluded.claims_issued_at is not null or (excluded.deleted_at is not null and excluded.sync_source = 'clerk_api') then u.clerk_updated_at else excluded.clerk_updated_at end,
    clerk_event_at = case when excluded.claims_issued_at is not null or (excluded.deleted_at is not null and excluded.sync_source = 'clerk_api') then u.clerk_event_at
      when excluded.deleted_at is not null then excluded.clerk_event_at else case when u.deleted_at is not null and u.clerk_updated_at = excluded.clerk_updated_at
      then greatest(u.clerk_event_at, excluded.clerk_event_at) else excluded.clerk_event_at end end,
    claims_issued_at = case when not excluded.deleted_at is not null then greatest(u.claims_issued_at, excluded.claims_issued_at) end,
    claims_columns = case
      when excluded.deleted_at is not null then null
      when excluded.claims_issued_at is not null then array(select distinct unnest(u.claims_columns || excluded.claims_columns) order by 1)
      else u.claims_columns end,
    clerk_asked_at = greatest(u.clerk_asked_at, excluded.clerk_asked_at),
    sync_source = excluded.sync_source,
    deleted_at = excluded.deleted_at,
    updated_at = case when excluded.deleted_at is not null or u.deleted_at is not null or (u.email, u.email_verified, u.first_name, u.last_name, u.username, u.image_url, u.public_metadata, u.last_sign_in_at, u.external_id, u.phone_number, u.banned, u.locked, u.deprovisioned, u.unsafe_metadata, u.private_metadata)
      is distinct from (case
      when not (excluded.claims_issued_at is not null) then excluded.email
      when 'email' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('email' = any(u.claims_columns), false)) then excluded.email
      else u.email end, case
      when not (excluded.claims_issued_at is not null) then excluded.email_verified
      when 'email_verified' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('email_verified' = any(u.claims_columns), false)) then excluded.email_verified
      else u.email_verified end, case
      when not (excluded.claims_issued_at is not null) then excluded.first_name
      when 'first_name' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('first_name' = any(u.claims_columns), false)) then excluded.first_name
      else u.first_name end, case
      when not (excluded.claims_issued_at is not null) then excluded.last_name
      when 'last_name' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('last_name' = any(u.claims_columns), false)) then excluded.last_name
      else u.last_name end, case
      when not (excluded.claims_issued_at is not null) then excluded.username
      when 'username' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('username' = any(u.claims_columns), false)) then excluded.username
      else u.username end, case
      when not (excluded.claims_issued_at is not null) then excluded.image_url
      when 'image_url' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('image_url' = any(u.claims_columns), false)) then excluded.image_url
      else u.image_url end, case
      when not (excluded.claims_issued_at is not null) then excluded.public_metadata
      when 'public_metadata' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('public_metadata' = any(u.claims_columns), false)) then excluded.public_metadata
      else u.public_metadata end, case
      when not (excluded.claims_issued_at is not null) then excluded.last_sign_in_at
      when 'last_sign_in_at' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('last_sign_in_at' = any(u.claims_columns), false)) then excluded.last_sign_in_at
      else u.last_sign_in_at end, case
      when not (excluded.claims_issued_at is not null) then excluded.external_id
      when 'external_id' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('external_id' = any(u.claims_columns), false)) then excluded.external_id
      else u.external_id end, case
      when not (excluded.claims_issued_at is not null) then excluded.phone_number
      when 'phone_number' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('phone_number' = any(u.claims_columns), false)) then excluded.phone_number
      else u.phone_number end, case when excluded.claims_issued_at is not null then u.banned else excluded.banned end, case when excluded.claims_issued_at is not null then u.locked else excluded.locked end, case when excluded.claims_issued_at is not null then u.deprovisioned else excluded.deprovisioned end, case when excluded.claims_issued_at is not null then u.unsafe_metadata else excluded.unsafe_metadata end, case when excluded.claims_issued_at is not null then u.private_metadata else excluded.private_metadata end) then now() else u.updated_at end
  where case
    when (excluded.deleted_at is not null and excluded.sync_source = 'clerk_api') then
      (u.deleted_at is null or u.sync_source = 'clerk_api') and excluded.deleted_at >= coalesce(greatest(u.clerk_updated_at, u.clerk_event_at, u.clerk_asked_at, u.deleted_at), '-infinity')
    when excluded.deleted_at is not null then u.deleted_at is null or u.sync_source = 'clerk_api'
    when excluded.claims_issued_at is not null then u.deleted_at is null and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or (u.clerk_updated_at is null and not excluded.claims_columns <@ u.claims_columns))
    when u.deleted_at is null then (u.clerk_updated_at is null or (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) >= (u.clerk_updated_at, coalesce(u.clerk_event_at, '-infinity'))
      and (excluded.sync_source <> 'clerk_api' or (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) > (u.clerk_updated_at, coalesce(u.clerk_event_at, '-infinity')) or excluded.deleted_at is not null or u.deleted_at is not null or (u.email, u.email_verified, u.first_name, u.last_name, u.username, u.image_url, u.public_metadata, u.last_sign_in_at, u.external_id, u.phone_number, u.banned, u.locked, u.deprovisioned, u.unsafe_metadata, u.private_metadata)
      is distinct from (case
      when not (excluded.claims_issued_at is not null) then excluded.email
      when 'email' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('email' = any(u.claims_columns), false)) then excluded.email
      else u.email end, case
      when not (excluded.claims_issued_at is not null) then excluded.email_verified
      when 'email_verified' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('email_verified' = any(u.claims_columns), false)) then excluded.email_verified
      else u.email_verified end, case
      when not (excluded.claims_issued_at is not null) then excluded.first_name
      when 'first_name' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('first_name' = any(u.claims_columns), false)) then excluded.first_name
      else u.first_name end, case
      when not (excluded.claims_issued_at is not null) then excluded.last_name
      when 'last_name' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('last_name' = any(u.claims_columns), false)) then excluded.last_name
      else u.last_name end, case
      when not (excluded.claims_issued_at is not null) then excluded.username
      when 'username' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('username' = any(u.claims_columns), false)) then excluded.username
      else u.username end, case
      when not (excluded.claims_issued_at is not null) then excluded.image_url
      when 'image_url' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('image_url' = any(u.claims_columns), false)) then excluded.image_url
      else u.image_url end, case
      when not (excluded.claims_issued_at is not null) then excluded.public_metadata
      when 'public_metadata' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('public_metadata' = any(u.claims_columns), false)) then excluded.public_metadata
      else u.public_metadata end, case
      when not (excluded.claims_issued_at is not null) then excluded.last_sign_in_at
      when 'last_sign_in_at' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('last_sign_in_at' = any(u.claims_columns), false)) then excluded.last_sign_in_at
      else u.last_sign_in_at end, case
      when not (excluded.claims_issued_at is not null) then excluded.external_id
      when 'external_id' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('external_id' = any(u.claims_columns), false)) then excluded.external_id
      else u.external_id end, case
      when not (excluded.claims_issued_at is not null) then excluded.phone_number
      when 'phone_number' = any(excluded.claims_columns) and (((u.clerk_updated_at is null or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)) or not coalesce('phone_number' = any(u.claims_columns), false)) then excluded.phone_number
      else u.phone_number end, case when excluded.claims_issued_at is not null then u.banned else excluded.banned end, case when excluded.claims_issued_at is not null then u.locked else excluded.locked end, case when excluded.claims_issued_at is not null then u.deprovisioned else excluded.deprovisioned end, case when excluded.claims_issued_at is not null then u.unsafe_metadata else excluded.unsafe_metadata end, case when excluded.claims_issued_at is not null then u.private_metadata else excluded.private_metadata end)))
    else u.sync_source = 'clerk_api' and greatest(excluded.clerk_event_at, excluded.clerk_asked_at,
      case when excluded.sync_source = 'clerk_api' and excluded.clerk_asked_at is null then now() end) > u.deleted_at end
  returning u.id, u.xmax = 0 as created
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > users_upsert_snapshots 1`] = `
insert into "clerk"."users" as u (id, email, email_verified, first_name, last_name, username, image_url, public_metadata, last_sign_in_at, external_id, phone_number, banned, locked, deprovisioned, unsafe_metadata, private_metadata, clerk_created_at, clerk_updated_at, sync_source, clerk_event_at, clerk_asked_at)
  select i.id, i.email, i.email_verified, i.first_name, i.last_name, i.username, i.image_url, i.public_metadata, to_timestamp(i.last_sign_in_at / 1000), i.external_id, i.phone_number, i.banned, i.locked, i.deprovisioned, i.unsafe_metadata, i.private_metadata, to_timestamp(i.clerk_created_at / 1000), to_timestamp(i.clerk_updated_at / 1000), i.sync_source, to_timestamp(i.clerk_event_at / 1000), to_timestamp(i.clerk_asked_at / 1000)
  from json_to_recordset($1::json) as i(id text, email text, email_verified boolean, first_name text, last_name text, username text, image_url text, public_metadata jsonb, last_sign_in_at float8, external_id text, phone_number text, banned boolean, locked boolean, deprovisioned boolean, unsafe_metadata jsonb, private_metadata jsonb, clerk_created_at float8, clerk_updated_at float8, sync_source text, clerk_event_at float8, clerk_asked_at float8)
  order by i.id
  on conflict (id) do update set
    email = excluded.email, email_verified = excluded.email_verified, first_name = excluded.first_name, last_name = excluded.last_name, username = excluded.username, image_url = excluded.image_url, public_metadata = excluded.public_metadata, last_sign_in_at = excluded.last_sign_in_at, external_id = excluded.external_id, phone_number = excluded.phone_number, banned = excluded.banned, locked = excluded.locked, deprovisioned = excluded.deprovisioned, unsafe_metadata = excluded.unsafe_metadata, private_metadata = excluded.private_metadata, clerk_created_at = excluded.clerk_created_at, clerk_updated_at = excluded.clerk_updated_at, sync_source = excluded.sync_source,
    clerk_event_at = case when u.deleted_at is not null and u.clerk_updated_at = excluded.clerk_updated_at
      then greatest(u.clerk_event_at, excluded.clerk_event_at) else excluded.clerk_event_at end, clerk_asked_at = greatest(u.clerk_asked_at, excluded.clerk_asked_at), deleted_at = null,
    updated_at = case when u.deleted_at is not null or (u.email, u.email_verified, u.first_name, u.last_name, u.username, u.image_url, u.public_metadata, u.last_sign_in_at, u.external_id, u.phone_number, u.banned, u.locked, u.deprovisioned, u.unsafe_metadata, u.private_metadata) is distinct from (excluded.email, excluded.email_verified, excluded.first_name, excluded.last_name, excluded.username, excluded.image_url, excluded.public_metadata, excluded.last_sign_in_at, excluded.external_id, excluded.phone_number, excluded.banned, excluded.locked, excluded.deprovisioned, excluded.unsafe_metadata, excluded.private_metadata) then now() else u.updated_at end
  where case when u.deleted_at is null then (u.clerk_updated_at is null or (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) >= (u.clerk_updated_at, coalesce(u.clerk_event_at, '-infinity'))
      and (excluded.sync_source <> 'clerk_api' or (excluded.clerk_updated_at, coalesce(excluded.clerk_event_at, '-infinity')) > (u.clerk_updated_at, coalesce(u.clerk_event_at, '-infinity')) or (u.email, u.email_verified, u.first_name, u.last_name, u.username, u.image_url, u.public_metadata, u.last_sign_in_at, u.external_id, u.phone_number, u.banned, u.locked, u.deprovisioned, u.unsafe_metadata, u.private_metadata) is distinct from (excluded.email, excluded.email_verified, excluded.first_name, excluded.last_name, excluded.username, excluded.image_url, excluded.public_metadata, excluded.last_sign_in_at, excluded.external_id, excluded.phone_number, excluded.banned, excluded.locked, excluded.deprovisioned, excluded.unsafe_metadata, excluded.private_metadata))) else u.sync_source = 'clerk_api' and greatest(excluded.clerk_event_at, excluded.clerk_asked_at,
      case when excluded.sync_source = 'clerk_api' and excluded.clerk_asked_at is null then now() end) > u.deleted_at end
  returning u.id, u.xmax = 0 as created
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_discard 1`] = `
update "clerk"."webhook_events" set outcome = 'discarded', payload = null
  where id = any($1::text[]) and outcome = 'failed' returning id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_enter 1`] = `
with entered as (
    insert into "clerk"."webhook_events"
      (id, type, object_id, instance_id, event_at, outcome, error, attempts, processed_at, payload, user_id)
    select id, type, object_id, instance_id, event_at, outcome, error, deliveries, now(), payload, user_id
    from (select i.id, i.type, i.object_id, i.instance_id,
      to_timestamp(i.event_at / 1000) as event_at, o.outcome, i.error, i.deliveries,
      case when k.is_kept then i.payload end as payload,
      case when k.is_kept then i.about_user end as user_id
    from json_to_recordset($1::json) as i(id text, type text, object_id text, instance_id text, event_at float8,
      error text, deliveries int, payload text, about_user text, user_id text, user_at float8, user_event_at float8, user_deleted boolean, session_id text, session_at float8, session_event_at float8, session_status text, organization_id text, organization_at float8, organization_event_at float8, organization_deleted boolean, membership_id text, membership_at float8, membership_event_at float8, membership_deleted boolean, role_id text, role_at float8, role_event_at float8, role_deleted boolean, invitation_id text, invitation_at float8, invitation_event_at float8, invitation_deleted boolean)
    cross join lateral (select
      case when i.user_id is null and i.session_id is null and i.organization_id is null and i.membership_id is null and i.role_id is null and i.invitation_id is null then 'ignored' when (select u.clerk_updated_at = to_timestamp(i.user_at / 1000)
    and u.clerk_event_at is not distinct from to_timestamp(i.user_event_at / 1000)
    and (u.deleted_at is not null) = i.user_deleted
    from "clerk"."users" u where u.id = i.user_id) or (select s.clerk_updated_at = to_timestamp(i.session_at / 1000)
    and s.clerk_event_at is not distinct from to_timestamp(i.session_event_at / 1000)
    and (s.status = i.session_status or s.ended_by_deletion)
    from "clerk"."sessions" s where s.id = i.session_id) or (select r.clerk_updated_at = to_timestamp(i.organization_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.organization_event_at / 1000)
    and (r.deleted_at is not null) = i.organization_deleted
    from "clerk"."organizations" r where r.id = i.organization_id) or (select r.clerk_updated_at = to_timestamp(i.membership_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.membership_event_at / 1000)
    and (r.deleted_at is not null) = i.membership_deleted
    from "clerk"."organization_memberships" r where r.id = i.membership_id) or (select r.clerk_updated_at = to_timestamp(i.role_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.role_event_at / 1000)
    and (r.deleted_at is not null) = i.role_deleted
    from "clerk"."organization_roles" r where r.id = i.role_id) or (select r.clerk_updated_at = to_timestamp(i.invitation_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.invitation_event_at / 1000)
    and (r.deleted_at is not null) = i.invitation_deleted
    from "clerk"."organization_invitations" r where r.id = i.invitation_id) then 'applied' else 'stale' end
        as outcome offset 0) o
    cross join lateral (select i.payload is not null and o.outcome = 'applied'
      and not (exists (select 1 from "clerk"."users" u where u.id = i.about_user and (u.deleted_at is not null and (u.sync_source <> 'clerk_api' or to_timestamp(i.event_at / 1000) <= u.deleted_at)))) as is_kept offset 0) k
    order by i.id) d
    returning id, outcome)
  select id, outcome from entered where outcome <> 'applied'
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_enter_again 1`] = `
update "clerk"."webhook_events" e set outcome = case when e.outcome in ('failed', 'superseded', 'discarded') then d.outcome end,
    type = d.type, object_id = d.object_id, instance_id = d.instance_id, event_at = d.event_at, error = d.error,
    payload = d.payload, user_id = d.user_id, attempts = e.attempts + d.deliveries, last_received_at = now(), processed_at = now()
  from (select i.id, i.type, i.object_id, i.instance_id,
      to_timestamp(i.event_at / 1000) as event_at, o.outcome, i.error, i.deliveries,
      case when k.is_kept then i.payload end as payload,
      case when k.is_kept then i.about_user end as user_id
    from json_to_recordset($1::json) as i(id text, type text, object_id text, instance_id text, event_at float8,
      error text, deliveries int, payload text, about_user text, user_id text, user_at float8, user_event_at float8, user_deleted boolean, session_id text, session_at float8, session_event_at float8, session_status text, organization_id text, organization_at float8, organization_event_at float8, organization_deleted boolean, membership_id text, membership_at float8, membership_event_at float8, membership_deleted boolean, role_id text, role_at float8, role_event_at float8, role_deleted boolean, invitation_id text, invitation_at float8, invitation_event_at float8, invitation_deleted boolean)
    cross join lateral (select
      case when i.user_id is null and i.session_id is null and i.organization_id is null and i.membership_id is null and i.role_id is null and i.invitation_id is null then 'ignored' when (select u.clerk_updated_at = to_timestamp(i.user_at / 1000)
    and u.clerk_event_at is not distinct from to_timestamp(i.user_event_at / 1000)
    and (u.deleted_at is not null) = i.user_deleted
    from "clerk"."users" u where u.id = i.user_id) or (select s.clerk_updated_at = to_timestamp(i.session_at / 1000)
    and s.clerk_event_at is not distinct from to_timestamp(i.session_event_at / 1000)
    and (s.status = i.session_status or s.ended_by_deletion)
    from "clerk"."sessions" s where s.id = i.session_id) or (select r.clerk_updated_at = to_timestamp(i.organization_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.organization_event_at / 1000)
    and (r.deleted_at is not null) = i.organization_deleted
    from "clerk"."organizations" r where r.id = i.organization_id) or (select r.clerk_updated_at = to_timestamp(i.membership_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.membership_event_at / 1000)
    and (r.deleted_at is not null) = i.membership_deleted
    from "clerk"."organization_memberships" r where r.id = i.membership_id) or (select r.clerk_updated_at = to_timestamp(i.role_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.role_event_at / 1000)
    and (r.deleted_at is not null) = i.role_deleted
    from "clerk"."organization_roles" r where r.id = i.role_id) or (select r.clerk_updated_at = to_timestamp(i.invitation_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.invitation_event_at / 1000)
    and (r.deleted_at is not null) = i.invitation_deleted
    from "clerk"."organization_invitations" r where r.id = i.invitation_id) then 'applied' else 'stale' end
        as outcome offset 0) o
    cross join lateral (select i.payload is not null and o.outcome = 'applied'
      and not (exists (select 1 from "clerk"."users" u where u.id = i.about_user and (u.deleted_at is not null and (u.sync_source <> 'clerk_api' or to_timestamp(i.event_at / 1000) <= u.deleted_at)))) as is_kept offset 0) k
    order by i.id) d
  where e.id = d.id
  returning e.id, e.outcome
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_enter_invitation 1`] = `
with entered as (
    insert into "clerk"."webhook_events"
      (id, type, object_id, instance_id, event_at, outcome, error, attempts, processed_at, payload, user_id)
    select id, type, object_id, instance_id, event_at, outcome, error, deliveries, now(), payload, user_id
    from (select i.id, i.type, i.object_id, i.instance_id,
      to_timestamp(i.event_at / 1000) as event_at, o.outcome, i.error, i.deliveries,
      null as payload,
      null as user_id
    from json_to_recordset($1::json) as i(id text, type text, object_id text, instance_id text, event_at float8,
      error text, deliveries int, payload text, about_user text, invitation_id text, invitation_at float8, invitation_event_at float8, invitation_deleted boolean)
    cross join lateral (select
      case when i.invitation_id is null then 'ignored' when (select r.clerk_updated_at = to_timestamp(i.invitation_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.invitation_event_at / 1000)
    and (r.deleted_at is not null) = i.invitation_deleted
    from "clerk"."organization_invitations" r where r.id = i.invitation_id) then 'applied' else 'stale' end
        as outcome offset 0) o
    order by i.id) d
    returning id, outcome)
  select id, outcome from entered where outcome <> 'applied'
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_enter_membership 1`] = `
with entered as (
    insert into "clerk"."webhook_events"
      (id, type, object_id, instance_id, event_at, outcome, error, attempts, processed_at, payload, user_id)
    select id, type, object_id, instance_id, event_at, outcome, error, deliveries, now(), payload, user_id
    from (select i.id, i.type, i.object_id, i.instance_id,
      to_timestamp(i.event_at / 1000) as event_at, o.outcome, i.error, i.deliveries,
      null as payload,
      null as user_id
    from json_to_recordset($1::json) as i(id text, type text, object_id text, instance_id text, event_at float8,
      error text, deliveries int, payload text, about_user text, membership_id text, membership_at float8, membership_event_at float8, membership_deleted boolean)
    cross join lateral (select
      case when i.membership_id is null then 'ignored' when (select r.clerk_updated_at = to_timestamp(i.membership_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.membership_event_at / 1000)
    and (r.deleted_at is not null) = i.membership_deleted
    from "clerk"."organization_memberships" r where r.id = i.membership_id) then 'applied' else 'stale' end
        as outcome offset 0) o
    order by i.id) d
    returning id, outcome)
  select id, outcome from entered where outcome <> 'applied'
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_enter_organization 1`] = `
with entered as (
    insert into "clerk"."webhook_events"
      (id, type, object_id, instance_id, event_at, outcome, error, attempts, processed_at, payload, user_id)
    select id, type, object_id, instance_id, event_at, outcome, error, deliveries, now(), payload, user_id
    from (select i.id, i.type, i.object_id, i.instance_id,
      to_timestamp(i.event_at / 1000) as event_at, o.outcome, i.error, i.deliveries,
      null as payload,
      null as user_id
    from json_to_recordset($1::json) as i(id text, type text, object_id text, instance_id text, event_at float8,
      error text, deliveries int, payload text, about_user text, organization_id text, organization_at float8, organization_event_at float8, organization_deleted boolean)
    cross join lateral (select
      case when i.organization_id is null then 'ignored' when (select r.clerk_updated_at = to_timestamp(i.organization_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.organization_event_at / 1000)
    and (r.deleted_at is not null) = i.organization_deleted
    from "clerk"."organizations" r where r.id = i.organization_id) then 'applied' else 'stale' end
        as outcome offset 0) o
    order by i.id) d
    returning id, outcome)
  select id, outcome from entered where outcome <> 'applied'
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_enter_role 1`] = `
with entered as (
    insert into "clerk"."webhook_events"
      (id, type, object_id, instance_id, event_at, outcome, error, attempts, processed_at, payload, user_id)
    select id, type, object_id, instance_id, event_at, outcome, error, deliveries, now(), payload, user_id
    from (select i.id, i.type, i.object_id, i.instance_id,
      to_timestamp(i.event_at / 1000) as event_at, o.outcome, i.error, i.deliveries,
      null as payload,
      null as user_id
    from json_to_recordset($1::json) as i(id text, type text, object_id text, instance_id text, event_at float8,
      error text, deliveries int, payload text, about_user text, role_id text, role_at float8, role_event_at float8, role_deleted boolean)
    cross join lateral (select
      case when i.role_id is null then 'ignored' when (select r.clerk_updated_at = to_timestamp(i.role_at / 1000)
    and r.clerk_event_at is not distinct from to_timestamp(i.role_event_at / 1000)
    and (r.deleted_at is not null) = i.role_deleted
    from "clerk"."organization_roles" r where r.id = i.role_id) then 'applied' else 'stale' end
        as outcome offset 0) o
    order by i.id) d
    returning id, outcome)
  select id, outcome from entered where outcome <> 'applied'
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_enter_session 1`] = `
with entered as (
    insert into "clerk"."webhook_events"
      (id, type, object_id, instance_id, event_at, outcome, error, attempts, processed_at, payload, user_id)
    select id, type, object_id, instance_id, event_at, outcome, error, deliveries, now(), payload, user_id
    from (select i.id, i.type, i.object_id, i.instance_id,
      to_timestamp(i.event_at / 1000) as event_at, o.outcome, i.error, i.deliveries,
      null as payload,
      null as user_id
    from json_to_recordset($1::json) as i(id text, type text, object_id text, instance_id text, event_at float8,
      error text, deliveries int, payload text, about_user text, session_id text, session_at float8, session_event_at float8, session_status text)
    cross join lateral (select
      case when i.session_id is null then 'ignored' when (select s.clerk_updated_at = to_timestamp(i.session_at / 1000)
    and s.clerk_event_at is not distinct from to_timestamp(i.session_event_at / 1000)
    and (s.status = i.session_status or s.ended_by_deletion)
    from "clerk"."sessions" s where s.id = i.session_id) then 'applied' else 'stale' end
        as outcome offset 0) o
    order by i.id) d
    returning id, outcome)
  select id, outcome from entered where outcome <> 'applied'
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_enter_user 1`] = `
with entered as (
    insert into "clerk"."webhook_events"
      (id, type, object_id, instance_id, event_at, outcome, error, attempts, processed_at, payload, user_id)
    select id, type, object_id, instance_id, event_at, outcome, error, deliveries, now(), payload, user_id
    from (select i.id, i.type, i.object_id, i.instance_id,
      to_timestamp(i.event_at / 1000) as event_at, o.outcome, i.error, i.deliveries,
      null as payload,
      null as user_id
    from json_to_recordset($1::json) as i(id text, type text, object_id text, instance_id text, event_at float8,
      error text, deliveries int, payload text, about_user text, user_id text, user_at float8, user_event_at float8, user_deleted boolean)
    cross join lateral (select
      case when i.user_id is null then 'ignored' when (select u.clerk_updated_at = to_timestamp(i.user_at / 1000)
    and u.clerk_event_at is not distinct from to_timestamp(i.user_event_at / 1000)
    and (u.deleted_at is not null) = i.user_deleted
    from "clerk"."users" u where u.id = i.user_id) then 'applied' else 'stale' end
        as outcome offset 0) o
    order by i.id) d
    returning id, outcome)
  select id, outcome from entered where outcome <> 'applied'
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_erase 1`] = `
with about as (
    select e.id from "clerk"."webhook_events" e join "clerk"."users" u on u.id = e.user_id
    where e.user_id = any($1::text[]) and e.payload is not null and (u.deleted_at is not null and (u.sync_source <> 'clerk_api' or e.event_at <= u.deleted_at))
    order by e.id for update of e)
  update "clerk"."webhook_events" e set payload = null from about where e.id = about.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_fail 1`] = `
insert into "clerk"."webhook_events" as e
    (id, type, object_id, instance_id, event_at, outcome, error, payload, user_id)
  values ($1, $2, $3, $4, to_timestamp($5::float8 / 1000), 'failed', $6,
    case when not (exists (select 1 from "clerk"."users" u where u.id = $8::text and (u.deleted_at is not null and (u.sync_source <> 'clerk_api' or to_timestamp($5::float8 / 1000) <= u.deleted_at)))) then $7::text end,
    $8::text)
  on conflict (id) do update set attempts = e.attempts + 1, last_received_at = now(),
    error = case when e.outcome = 'failed' then excluded.error else e.error end,
    payload = case when e.outcome = 'failed' then excluded.payload else e.payload end
  returning e.outcome
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_failed 1`] = `
select id, type, object_id as "objectId", error, attempts, (extract(epoch from event_at) * 1000)::float8 as "eventAt",
    (extract(epoch from received_at) * 1000)::float8 as "receivedAt", (extract(epoch from last_received_at) * 1000)::float8 as "lastReceivedAt", payload
  from "clerk"."webhook_events" e
  where outcome = 'failed' and ((e.outcome = 'failed' and not (exists (select 1 from "clerk"."users" u where u.id in (e.object_id, e.user_id)
    and ((u.deleted_at is not null and (u.sync_source <> 'clerk_api' or e.event_at <= u.deleted_at)) or u.id = e.object_id and greatest(u.clerk_updated_at, u.clerk_event_at) > e.event_at)) or exists (select 1 from "clerk"."sessions" s where s.id = e.object_id
    and greatest(s.clerk_updated_at, s.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organizations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_memberships" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_roles" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_invitations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at))) or not $7::boolean and payload is not null)
    and received_at >= coalesce($1::timestamptz, '-infinity')
    and ($2::text is null or type = $2)
    and ($3::text[] is null or id = any($3))
    and (received_at, id) > (coalesce($4::timestamptz, '-infinity'), coalesce($5::text, ''))
  order by received_at, id
  limit $6::int
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_known 1`] = `
select id, outcome in ('failed', 'superseded', 'discarded') as has_failed from "clerk"."webhook_events" where id = any($1::text[])
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_latest 1`] = `
select (extract(epoch from (select max(received_at) from "clerk"."webhook_events" where type <> 'clerk-session-sync.test')) * 1000)::float8 as last_received_at,
    (select count(*)::int from (select 1 from "clerk"."webhook_events" e where (e.outcome = 'failed' and not (exists (select 1 from "clerk"."users" u where u.id in (e.object_id, e.user_id)
    and ((u.deleted_at is not null and (u.sync_source <> 'clerk_api' or e.event_at <= u.deleted_at)) or u.id = e.object_id and greatest(u.clerk_updated_at, u.clerk_event_at) > e.event_at)) or exists (select 1 from "clerk"."sessions" s where s.id = e.object_id
    and greatest(s.clerk_updated_at, s.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organizations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_memberships" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_roles" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_invitations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at))) limit 1000) f) as failed,
    (select count(*)::int from (select 1 from "clerk"."webhook_events" where outcome = 'ignored' and error is not null and received_at > now() - interval '1 day' limit 1000) f) as foreign,
    (select instance_id from "clerk"."webhook_events" where outcome = 'ignored' and error is not null and received_at > now() - interval '1 day' order by received_at desc limit 1) as foreign_instance,
    (select ((state->'lost'->>'created')::int + (state->'lost'->>'updated')::int + (state->'lost'->>'deleted')::int)
      from "clerk"."sync_state" where job = 'catch-up' and state->'lost'->>'day' = (now() at time zone 'utc')::date::text) as lost,
    current_setting('transaction_read_only') = 'on' as read_only
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_locked 1`] = `
with free as (select id from "clerk"."webhook_events" where id = any($1::text[]) for no key update skip locked)
  select distinct id as id from "clerk"."webhook_events" where id = any($1::text[]) and id not in (select id from free)
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_oldest 1`] = `
select (extract(epoch from min(received_at)) * 1000)::float8 as oldest from "clerk"."webhook_events" where type <> 'clerk-session-sync.test'
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_prune 1`] = `
with lock as materialized (select pg_try_advisory_xact_lock(1886549358, hashtext('clerk')) as taken)
  delete from "clerk"."webhook_events" where id in (
    select id from "clerk"."webhook_events"
    where (select taken from lock) and true and received_at < now() - make_interval(days => $1::int)
    order by received_at limit 1000 for update skip locked)
  returning id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_repeat 1`] = `
update "clerk"."webhook_events" e set attempts = e.attempts + i.deliveries, last_received_at = now()
  from json_to_recordset($1::json) as i(id text, deliveries int)
  where e.id = i.id returning e.id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_supersede 1`] = `
update "clerk"."webhook_events" set outcome = 'superseded', payload = null where id in (
    select e.id from "clerk"."webhook_events" e where e.outcome = 'failed' and (exists (select 1 from "clerk"."users" u where u.id in (e.object_id, e.user_id)
    and ((u.deleted_at is not null and (u.sync_source <> 'clerk_api' or e.event_at <= u.deleted_at)) or u.id = e.object_id and greatest(u.clerk_updated_at, u.clerk_event_at) > e.event_at)) or exists (select 1 from "clerk"."sessions" s where s.id = e.object_id
    and greatest(s.clerk_updated_at, s.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organizations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_memberships" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_roles" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_invitations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at))
    order by e.id limit 1000 for update of e skip locked)
  returning id
`

exports[`test/db/statement-text.test.ts > TAP > the text of every statement is as it was reviewed > webhook_events_types 1`] = `
select type, sum(messages)::int as messages, sum(failed)::int as failed, (extract(epoch from max(last)) * 1000)::float8 as "lastReceivedAt"
  from (
    select type, count(*) as messages, 0 as failed, max(received_at) as last from (select * from "clerk"."webhook_events" order by received_at desc limit 100000) r group by type
    union all
    select type, 0, count(*), max(received_at) from "clerk"."webhook_events" e where (e.outcome = 'failed' and not (exists (select 1 from "clerk"."users" u where u.id in (e.object_id, e.user_id)
    and ((u.deleted_at is not null and (u.sync_source <> 'clerk_api' or e.event_at <= u.deleted_at)) or u.id = e.object_id and greatest(u.clerk_updated_at, u.clerk_event_at) > e.event_at)) or exists (select 1 from "clerk"."sessions" s where s.id = e.object_id
    and greatest(s.clerk_updated_at, s.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organizations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_memberships" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_roles" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at) or exists (select 1 from "clerk"."organization_invitations" r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at))) group by type) t
  where type <> 'clerk-session-sync.test' group by type order by type
`

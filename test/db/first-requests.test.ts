import tap, { type Test, test } from 'tap'
import type { TestDatabase } from '../helpers/database.ts'
import { type Service, type ServiceOptions, startService } from '../helpers/service.ts'

tap.setTimeout(900_000)

const REQUESTS = 200

/** Two instances, and every row that is ever inserted into `users` with the source that made it. */
async function start(t: Test, options?: ServiceOptions) {
  const one = await startService(t, options)
  const two = await startService(t, { ...options, beside: one })
  const { database } = one
  await database.query('create table made (id text, sync_source text)')
  await database.query(`create function note() returns trigger language plpgsql as
    $$ begin insert into clerk.made values (new.id, new.sync_source); return new; end $$`)
  await database.query('create trigger note after insert on users for each row execute function note()')
  return { replicas: [one, two] as const, clerk: one.clerk, database }
}

/** A user whom nobody knows yet, signed in, whose webhooks come at the same time as the requests, or a moment later. */
async function race(
  { replicas, clerk, database }: Awaited<ReturnType<typeof start>>,
  paths: string[],
  isLate: boolean,
) {
  clerk.webhooks.hold()
  const { id } = clerk.createUser({ firstName: 'Ada' })
  const token = clerk.sessionToken(clerk.signIn(id).id)
  const replies = Array.from({ length: REQUESTS }, (_, i) => {
    const path = paths[i % paths.length] as string
    const service = replicas[Math.floor(i / paths.length) % 2] as Service
    return service.call(path, { token, method: path === SYNC ? 'POST' : 'GET' })
  })
  if (isLate) await Promise.race(replies)
  const [answers] = await Promise.all([Promise.all(replies), clerk.webhooks.release({ order: 'random' })])
  await clerk.webhooks.idle()
  return { id, answers, made: await database.query('select sync_source from made where id = $1', [id]) }
}

const SYNC = '/api/auth/sync-user'
const PROFILE = '/api/auth/profile'

async function assertOneRow(t: Test, database: TestDatabase, { id, answers, made }: Awaited<ReturnType<typeof race>>) {
  t.ok(
    answers.every(({ status }) => status === 200 || status === 201),
    'no request failed',
  )
  t.ok(answers.every(({ body }) => body.user.id === id))
  t.equal(made.length, 1, 'one row, made once')
  t.strictSame(await database.query('select first_name from users where id = $1', [id]), [{ first_name: 'Ada' }])
}

for (const hasSecretKey of [true, false]) {
  const source = hasSecretKey ? 'clerk_api' : 'session_claims'
  const options = {
    hasSecretKey,
    clerk: { sessionClaims: ({ first_name }: { first_name: string | null }) => ({ first_name }) },
  }

  test(`of ${REQUESTS} concurrent first sync calls and the webhook, exactly one created the row (${source})`, async (t) => {
    const service = await start(t, options)
    for (let round = 0; round < 3; round += 1) {
      const outcome = await race(service, [SYNC], round === 0)
      await assertOneRow(t, service.database, outcome)
      const created = outcome.answers.filter(({ body }) => body.created)
      t.equal(
        created.length,
        outcome.made[0]?.sync_source === 'webhook' ? 0 : 1,
        `made by ${outcome.made[0]?.sync_source}`,
      )
      for (const { status, body } of outcome.answers) {
        t.equal(status, body.created ? 201 : 200)
        if (body.created) t.equal(body.source, source)
      }
    }
  })

  test(`of ${REQUESTS} concurrent first requests of both kinds, at most one created the row (${source})`, async (t) => {
    const service = await start(t, options)
    for (let round = 0; round < 3; round += 1) {
      const outcome = await race(service, [SYNC, PROFILE], round === 0)
      await assertOneRow(t, service.database, outcome)
      t.ok(outcome.answers.filter(({ body }) => body.created).length <= 1)
    }
  })
}

import { test } from 'tap'
import { startCommandLine } from '../helpers/command-line.ts'
import { startService } from '../helpers/service.ts'

test('user shows row and Clerk side by side, and syncs it', async (t) => {
  const { clerk, database } = await startService(t)
  const { run, env } = await startCommandLine(
    t,
    {},
    {
      DATABASE_URL: database.url,
      CLERK_ISSUER: clerk.issuer,
      CLERK_API_URL: clerk.apiUrl,
      CLERK_SECRET_KEY: clerk.secretKey,
    },
  )
  const ada = clerk.createUser({ email: 'ada@example.com', firstName: 'Ada' })
  clerk.signIn(ada.id)
  await clerk.webhooks.idle()
  const same = await run('user', ada.id)
  t.equal(same.code, 0, same.output)
  t.match(same.output, `${ada.id}: the same here and at Clerk`)
  t.match(same.output, /^email +ada@example.com +ada@example.com$/m)
  t.match(same.output, /^sess_\S+ +active/m)
  t.match(same.output, / session.created +applied/)
  t.match(same.output, / user.created +(applied|stale)/)

  const difference = async (id = ada.id) => {
    const { code, json } = await run('user', id, '--json')
    return [code, json.difference, json.verdict]
  }
  const sync = async (id = ada.id) => {
    const { code, json } = await run('sync', id, '--json')
    return [code, json.outcome]
  }
  clerk.webhooks.enabled = false
  clerk.updateUser(ada.id, { lastName: 'Lovelace' })
  t.strictSame(await difference(), [1, 'stale', 'older here than at Clerk'])
  t.strictSame(await sync(), [0, 'updated'])
  t.strictSame(await sync(), [0, 'up to date'])
  t.strictSame(await difference(), [0, 'same', 'the same here and at Clerk'])
  const bob = clerk.createUser()
  t.strictSame(await difference(bob.id), [1, 'missing', 'at Clerk, missing here'])
  t.strictSame(await sync(bob.id), [0, 'created'])
  clerk.deleteUser(bob.id)
  t.strictSame(await difference(bob.id), [1, null, 'here, but missing at Clerk: `sync` deletes it here'])
  t.strictSame(await sync(bob.id), [0, 'missing at Clerk, deleted here'])
  t.strictSame(await difference(bob.id), [0, null, 'deleted here, missing at Clerk'])
  t.strictSame(await difference('user_nobody'), [1, null, 'unknown here and at Clerk'])
  t.equal((await run('user', 'user_nobody')).output.match(/^none$/gm)?.length, 2)
  t.strictSame(await sync('user_nobody'), [1, 'unknown to Clerk and here'])
  t.strictSame(await database.query(`select 1 from users where id = 'user_nobody'`), [])

  await database.query('alter table users add constraint none check (last_name is null) not valid')
  clerk.updateUser(ada.id, { lastName: 'King' })
  const refused = await run('sync', ada.id)
  t.equal(refused.code, 1)
  t.match(refused.output, /^clerk-session-sync: .*violates check constraint/)

  // An answer that cannot be read is no 404: nobody is deleted for it.
  clerk.updateUser(ada.id, { publicMetadata: [] as never })
  for (const command of ['sync', 'user']) {
    const { code, output } = await run(command, ada.id)
    t.equal(code, 1)
    t.match(output, `clerk-session-sync: Clerk's answer about ${ada.id} cannot be used: an unexpected body`)
  }
  t.strictSame(await database.query('select 1 from users where id = $1 and deleted_at is null', [ada.id]), [
    { '?column?': 1 },
  ])

  // Whoever types it in the middle of an outage gets an answer soon.
  clerk.faults.api = 'error'
  const { code: failed, output: trouble } = await run('sync', ada.id)
  t.equal(failed, 1)
  t.match(
    trouble,
    /(Clerk's Backend API \(http:.+\): status 500, trying again in \d\.\d s\n){2}clerk-session-sync: .* 3 times/,
  )
  clerk.faults.api = undefined

  const alone = await startCommandLine(t, {}, { ...env, CLERK_SECRET_KEY: '' })
  const { code, output } = await alone.run('user', ada.id)
  t.equal(code, 0)
  t.match(output, /not compared with Clerk \(CLERK_SECRET_KEY is not set\)/)
})

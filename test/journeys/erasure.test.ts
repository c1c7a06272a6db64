/** What is left of a user who was deleted, in every column of every table. */
import { test } from 'tap'
import { PUSH_SECRET, startChangeReceiver } from '../helpers/change-receiver.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

// Part of everything that Clerk knows of the user.
const MARKER = 'zanzibar'

test('after the deletion of a user, the tables contain only ids and times of the user', async (t) => {
  const receiver = await startChangeReceiver(t)
  receiver.answer = () => 500
  const { clerk, database, call } = await startService(t, {
    settings: {
      CHANGES: 'true',
      CHANGES_WEBHOOK_URL: receiver.url,
      CHANGES_WEBHOOK_SECRET: PUSH_SECRET,
      WEBHOOK_STORE_PAYLOADS: 'true',
      SYNC_METADATA: 'unsafe,private',
    },
    onReadyToUse: (app) =>
      app.clerkOn(['user.created', 'user.updated'], { name: 'mail', scheduleMs: [0] }, () => {
        throw Object.assign(new Error(`no mail to ${MARKER}@example.com`), { name: 'MailError' })
      }),
  })
  const profile = {
    email: `${MARKER}@example.com`,
    phone: '+15550100',
    username: MARKER,
    firstName: MARKER,
    lastName: MARKER,
    imageUrl: `https://img.example.com/${MARKER}.png`,
    externalId: MARKER,
    publicMetadata: { a: MARKER },
    privateMetadata: { b: MARKER },
    unsafeMetadata: { c: MARKER },
  }
  const user = clerk.createUser(profile)
  const other = clerk.createUser({ email: 'other@example.com' })
  const session = clerk.signIn(user.id)
  const organization = clerk.organizations.create({ name: 'Acme' })
  const invitation = clerk.organizations.invite(organization.id, profile.email)
  await clerk.webhooks.idle()
  clerk.organizations.acceptInvitation(invitation.id, user.id)
  await clerk.webhooks.idle()
  await call('/api/auth/sync-user', { method: 'POST', token: clerk.sessionToken(session.id) })
  // Torn and unusable messages are kept for a replay.
  for (const body of [
    JSON.stringify({
      type: 'user.updated',
      timestamp: 'x',
      data: { id: user.id, first_name: MARKER, updated_at: 'x' },
    }),
    `{"type":"user.updated","data":{"id":"${user.id}","first_name":"${MARKER}`,
  ]) {
    const headers = { 'content-type': 'application/json', ...clerk.sign(body) }
    await call('/clerk', { method: 'POST', headers, body })
  }
  clerk.updateUser(user.id, { ...profile, lastName: `${MARKER} II` })
  await clerk.webhooks.idle()
  const given = async () =>
    Number((await database.query('select count(*) from change_deliveries where dead_at is not null'))[0]?.count)
  await waitUntil('changes that were given up', async () => (await given()) > 0)

  /** The columns of any table that hold the text. */
  async function findColumns(text: string): Promise<string[]> {
    const columns = await database.query<{ schema: string; table: string; column: string }>(
      `select table_schema as schema, table_name as "table", column_name as "column" from information_schema.columns
       where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2, 3`,
    )
    const found: string[] = []
    for (const { schema, table, column } of columns) {
      const sql = `select exists (select from "${schema}"."${table}" where "${column}"::text ilike '%' || $1 || '%') as found`
      if ((await database.query(sql, [text]))[0]?.found) found.push(`${table}.${column}`)
    }
    return found
  }
  const before = await findColumns(MARKER)
  for (const column of ['users.email', 'users.public_metadata', 'users.private_metadata', 'webhook_events.payload']) {
    t.ok(before.includes(column), `${column} was searched`)
  }
  t.ok(before.includes('organization_invitations.email'))

  clerk.deleteUser(user.id)
  await clerk.webhooks.idle()
  t.strictSame(await findColumns(MARKER), [])
  t.strictSame(await findColumns('+15550100'), [])
  t.ok((await findColumns(user.id)).includes('changes.entity_id'), 'ids stay, in the feed too')
  t.ok((await findColumns('other@example.com')).length > 0, 'and everything of others')
  t.type(other.id, 'string')
})

import { test } from 'tap'
import { primaryEmail } from '../../src/emulator/user-json.ts'
import { startClerk } from './start-clerk.ts'

/** The required properties of the schema User in Clerk's webhooks/2025-04-15.yml and bapi/2026-05-12.yml. */
const REQUIRED = [
  ...['id', 'object', 'username', 'first_name', 'last_name', 'image_url', 'has_image', 'primary_email_address_id'],
  ...['primary_phone_number_id', 'primary_web3_wallet_id', 'password_enabled', 'two_factor_enabled', 'totp_enabled'],
  ...['backup_code_enabled', 'email_addresses', 'phone_numbers', 'web3_wallets', 'passkeys', 'external_accounts'],
  ...['saml_accounts', 'enterprise_accounts', 'public_metadata', 'private_metadata', 'unsafe_metadata', 'external_id'],
  ...['last_sign_in_at', 'banned', 'locked', 'lockout_expires_in_seconds', 'verification_attempts_remaining'],
  ...['created_at', 'updated_at', 'delete_self_enabled', 'create_organization_enabled', 'last_active_at'],
  ...['mfa_enabled_at', 'mfa_disabled_at', 'legal_accepted_at', 'locale'],
]

test("a user has every field of Clerk's", async (t) => {
  const clerk = await startClerk(t)
  const user = clerk.createUser({
    email: 'ada@example.com',
    phone: '+15551234567',
    username: 'ada',
    firstName: 'Ada',
    lastName: 'Lovelace',
    imageUrl: 'https://img.example.com/ada.png',
    externalId: 'ext_1',
    publicMetadata: { role: 'admin' },
    privateMetadata: { plan: 'pro' },
    unsafeMetadata: { theme: 'dark' },
    createdAt: 1_700_000_000_000,
  })
  for (const name of REQUIRED) t.ok(name in user, name)
  t.match(user, {
    object: 'user',
    id: /^user_[0-9A-Za-z]{27}$/,
    external_id: 'ext_1',
    username: 'ada',
    first_name: 'Ada',
    last_name: 'Lovelace',
    image_url: 'https://img.example.com/ada.png',
    profile_image_url: 'https://img.example.com/ada.png',
    has_image: true,
    public_metadata: { role: 'admin' },
    private_metadata: { plan: 'pro' },
    unsafe_metadata: { theme: 'dark' },
    created_at: 1_700_000_000_000,
    updated_at: 1_700_000_000_000,
    last_sign_in_at: null,
    banned: false,
  })
  const [email] = user.email_addresses
  t.match(email, {
    id: /^idn_[0-9A-Za-z]{27}$/,
    object: 'email_address',
    email_address: 'ada@example.com',
    verification: { object: 'verification_otp', status: 'verified', strategy: 'email_code', attempts: 1 },
    linked_to: [],
    created_at: 1_700_000_000_000,
  })
  t.equal(user.primary_email_address_id, email?.id)
  t.match(user.phone_numbers, [
    { object: 'phone_number', phone_number: '+15551234567', verification: { strategy: 'phone_code' } },
  ])
  t.equal(user.primary_phone_number_id, user.phone_numbers[0]?.id)
})

test('without any identifier a user gets an email address, with one none is made up', async (t) => {
  const clerk = await startClerk(t)
  t.match(primaryEmail(clerk.createUser()), /^[a-z0-9-]+@example\.com$/)
  const phoneOnly = clerk.createUser({ phone: '+15550000001' })
  t.same(phoneOnly.email_addresses, [])
  t.equal(phoneOnly.primary_email_address_id, null)
  t.equal(primaryEmail(phoneOnly), undefined)
  t.equal(phoneOnly.has_image, false)
  t.match(phoneOnly.image_url, /^https:\/\/img\.clerk\.com\//)
})

test('a patch changes what it names and nothing else', async (t) => {
  const clerk = await startClerk(t)
  const before = clerk.createUser({ email: 'a@example.com', firstName: 'A', lastName: 'B', publicMetadata: { a: 1 } })
  const after = clerk.updateUser(before.id, { lastName: 'C' })
  t.same(after, { ...before, last_name: 'C', updated_at: after.updated_at })

  const filled = clerk.updateUser(before.id, {
    firstName: null,
    username: 'someone',
    externalId: 'ext_2',
    imageUrl: 'https://img.example.com/a.png',
    phone: '+15550000002',
    publicMetadata: { b: 2 },
    privateMetadata: { c: 3 },
    unsafeMetadata: { d: 4 },
  })
  t.match(filled, {
    first_name: null,
    username: 'someone',
    external_id: 'ext_2',
    has_image: true,
    phone_numbers: [{ phone_number: '+15550000002' }],
  })
  t.same(filled.public_metadata, { b: 2 }, 'metadata is replaced, not merged')
  t.same([filled.private_metadata, filled.unsafe_metadata], [{ c: 3 }, { d: 4 }])

  const emptied = clerk.updateUser(before.id, { imageUrl: null, phone: null, email: null })
  t.match(emptied, { has_image: false, phone_numbers: [], primary_phone_number_id: null, email_addresses: [] })
  t.equal(emptied.image_url, before.image_url)
})

test('the primary address may change and be unverified; the others stay, and come first', async (t) => {
  const clerk = await startClerk(t)
  const user = clerk.createUser({ email: 'old@example.com', emailVerified: false, otherEmails: ['other@example.com'] })
  t.match(user.email_addresses, [
    { email_address: 'other@example.com' },
    { email_address: 'old@example.com', verification: { status: 'unverified', attempts: 0 } },
  ])
  t.equal(primaryEmail(user), 'old@example.com')

  const verified = clerk.updateUser(user.id, { emailVerified: true })
  t.equal(verified.primary_email_address_id, user.primary_email_address_id, 'the same identification')
  t.match(verified.email_addresses[1], { verification: { status: 'verified' } })

  const moved = clerk.updateUser(user.id, { email: 'new@example.com' })
  t.not(moved.primary_email_address_id, user.primary_email_address_id)
  t.same(
    moved.email_addresses.map((address) => address.email_address),
    ['other@example.com', 'new@example.com'],
  )
  t.same(clerk.updateUser(user.id, { otherEmails: [] }).email_addresses.length, 1)

  const phoneOnly = clerk.createUser({ phone: '+15550000003' })
  t.same(clerk.updateUser(phoneOnly.id, { emailVerified: true }).email_addresses, [], 'nothing there to verify')
})

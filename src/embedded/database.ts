/** A separate database for each Clerk instance, so that their users are never mixed. */
import pg from 'pg'

const EMULATOR = 'emulator'
const MAX_NAME_LENGTH = 63

/** @param issuer that of a real instance; undefined for the emulator, whose address may change with each start */
export const databaseName = (issuer: string | undefined): string =>
  issuer === undefined
    ? EMULATOR
    : new URL(issuer).host
        .toLowerCase()
        .replaceAll(/[^a-z0-9]+/g, '_')
        .slice(0, MAX_NAME_LENGTH)

/** The URL of this database on the server. Creates it if it does not exist, and recreates it if `isReset`. */
export async function openDatabase(serverUrl: string, name: string, isReset: boolean): Promise<string> {
  const client = new pg.Client(serverUrl)
  await client.connect()
  try {
    if (isReset) await client.query(`drop database if exists ${client.escapeIdentifier(name)} with (force)`)
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
    if (rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`)
  } finally {
    await client.end()
  }
  const url = new URL(serverUrl)
  url.pathname = name
  return url.href
}

import { test } from 'tap'
import { loadConfig } from '../src/config.ts'

const load = (DATABASE_URL: string) => loadConfig({ NODE_ENV: 'test', DATABASE_URL }).DATABASE_URL
const PASSWORD = 'pa@ss/w#rd'

test('every form of DATABASE_URL that pg accepts is accepted', async (t) => {
  for (const url of [
    'postgres://u:p@db.example.com:5432/app',
    'postgresql://u:p@db.example.com/app?sslmode=require',
    'postgres://u:p@/app?host=/cloudsql/project:region:name',
    'postgres://u@/app?host=/var/run/postgresql',
    'postgres:///app?host=/var/run/postgresql',
    'postgres://u:pa%40ss%2Fw%23rd@db.example.com/app',
    'postgres://u:p@[::1]:5432/app',
    'socket:/var/run/postgresql?db=app',
    '/var/run/postgresql app',
  ]) {
    t.equal(load(url), url)
  }
})

test('an unescaped password is refused, and the message quotes no part of it', async (t) => {
  for (const url of [
    `postgres://u:${PASSWORD}@db.example.com/app`,
    'postgres://u:pa@ss/word@db.example.com/app',
    'postgres://u:1/ss@db.example.com/app',
    'postgres://u:12?ss@db.example.com/app',
    'postgres://u:1#ss@db.example.com/app',
  ]) {
    const error = t.throws(() => load(url), { message: /DATABASE_URL.*must be escaped \(%40/ }) as Error
    t.notMatch(String(error?.message), /:pa|ss\/|w#rd|word@|1#ss/)
  }
})

test("the schema parameter of Prisma's URLs is refused, and the message names DATABASE_SCHEMA", async (t) => {
  t.throws(() => load('postgres://u:p@db.example.com/app?schema=clerk'), { message: /\?schema=.*DATABASE_SCHEMA/ })
})

test('SYNC_METADATA accepts only kinds of metadata', async (t) => {
  const metadata = (SYNC_METADATA: string) => loadConfig({ NODE_ENV: 'test', SYNC_METADATA }).SYNC_METADATA
  t.strictSame(
    [metadata(''), metadata('unsafe'), metadata(' private, unsafe ')],
    [[], ['unsafe'], ['private', 'unsafe']],
  )
  t.throws(() => metadata('public'), { message: /SYNC_METADATA is wrong/ })
})

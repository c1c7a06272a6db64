import { existsSync, lstatSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { placeBinaries } from '../../src/embedded/place.ts'
import { folder } from '../helpers/folder.ts'

const OTHER = { uid: 65_534, gid: 65_534 }

test('binaries that another user cannot reach are copied beside the data, and the copy is removed', (t) => {
  const bin = join(folder(t, 0o700), 'native/bin')
  mkdirSync(bin, { recursive: true })
  const binaries = { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') }
  for (const path of Object.values(binaries)) writeFileSync(path, path, { mode: 0o700 })
  writeFileSync(join(bin, 'words'), 'words', { mode: 0o600 })
  symlinkSync('postgres', join(bin, 'postmaster'))
  const data = join(folder(t, 0o711), 'data')
  const killed = placeBinaries(binaries, data, OTHER)
  t.ok(existsSync(killed.postgres), 'left behind by a process that was killed')

  const { initdb, postgres, copy = '', removeCopy } = placeBinaries(binaries, data, OTHER)
  t.notOk(existsSync(killed.postgres), 'what was left behind is gone')
  t.equal(readFileSync(initdb, 'utf8'), binaries.initdb)
  t.equal(readFileSync(postgres, 'utf8'), binaries.postgres)
  const mode = (path: string) => statSync(path).mode & 0o777
  t.strictSame([copy, postgres, join(postgres, '../words')].map(mode), [0o711, 0o755, 0o644])
  t.ok(lstatSync(join(postgres, '../postmaster')).isSymbolicLink())
  removeCopy()
  t.notOk(existsSync(copy))

  const same = placeBinaries(binaries, data, undefined)
  same.removeCopy()
  t.match(same, binaries, 'the user who owns them needs no copy')
  t.equal(same.copy, undefined)
  t.end()
})

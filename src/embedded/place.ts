/**
 * Where a server runs that root starts. PostgreSQL refuses to be root, and the user who runs it instead cannot enter a folder
 * such as root's home: then the binaries are copied, and the data are kept in a folder with a name that nobody can predict.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'

export interface Binaries {
  initdb: string
  postgres: string
}

/** Who runs the server: as root, somebody else must. */
export type Identity = { uid: number; gid: number } | undefined

// Others may pass through to what is theirs, but neither list nor write.
const PASSABLE = 0o711

/** The data directory where that user can enter it: the one given, or one that is remembered beside it. */
export function placeData(directory: string, identity: Identity): string {
  mkdirSync(dirname(directory), { recursive: true })
  if (!identity || isEnterable(directory)) return directory
  // The copy elsewhere would hide what is here.
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new Error(`${directory} is not empty, and as root PostgreSQL needs a folder that others may enter`)
  }
  return join(rememberedFolder(`${directory}.place`), 'data')
}

/** The binaries where that user can run them, and what removes the copy, if one was made. Only when the data are not in use. */
export function placeBinaries(
  { initdb, postgres }: Binaries,
  data: string,
  identity: Identity,
): Binaries & { copy?: string; removeCopy: () => void } {
  if (!identity || isEnterable(initdb)) return { initdb, postgres, removeCopy: () => undefined }
  const folder = dirname(data)
  const prefix = `${basename(data)}-server-`
  // Left by a process that was killed.
  for (const name of readdirSync(folder)) if (name.startsWith(prefix)) rmSync(join(folder, name), { recursive: true })
  const copy = mkdtempSync(join(folder, prefix))
  chmodSync(copy, PASSABLE)
  const native = dirname(dirname(initdb))
  cpSync(native, join(copy, 'native'), { recursive: true, verbatimSymlinks: true })
  openToOthers(join(copy, 'native'))
  const moved = (binary: string) => join(copy, binary.slice(dirname(native).length))
  return {
    initdb: moved(initdb),
    postgres: moved(postgres),
    copy,
    removeCopy: () => rmSync(copy, { recursive: true, force: true }),
  }
}

/** Lets others read and run what the owner may: a strict umask has kept that from them. */
function openToOthers(path: string): void {
  const found = lstatSync(path)
  if (found.isSymbolicLink()) return
  chmodSync(path, found.mode & 0o100 ? 0o755 : 0o644)
  if (found.isDirectory()) for (const name of readdirSync(path)) openToOthers(join(path, name))
}

function rememberedFolder(pointer: string): string {
  const known = existsSync(pointer) ? readFileSync(pointer, 'utf8') : undefined
  if (known !== undefined && isOurs(known)) return known
  const folder = mkdtempSync(join(tmpdir(), 'clerk-session-sync-'))
  chmodSync(folder, PASSABLE)
  writeFileSync(pointer, folder, { mode: 0o600 })
  return folder
}

// Somebody else may have put a folder, or a link, in the place of one that was cleaned away.
function isOurs(folder: string): boolean {
  const found = lstatSync(folder, { throwIfNoEntry: false })
  if (!found?.isDirectory()) return false
  return found.uid === process.getuid?.() && (found.mode & 0o022) === 0
}

function isEnterable(path: string): boolean {
  const parent = dirname(path)
  if (parent === path) return true
  return (!existsSync(parent) || (statSync(parent).mode & 0o001) !== 0) && isEnterable(parent)
}

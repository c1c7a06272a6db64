/**
 * Places binaries and data for a server that root starts. PostgreSQL refuses to run as root, and another user cannot enter
 * directories such as root's home. The binaries are then copied, and the data kept in a directory with an unpredictable name.
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

/** The user who runs the server; not root. */
export type Identity = { uid: number; gid: number } | undefined

// Other users may pass through the directory, but not list or write it.
const PASSABLE = 0o711

/** A data directory that the user can enter: the given one, or one whose path is stored beside it. */
export function placeData(directory: string, identity: Identity): string {
  mkdirSync(dirname(directory), { recursive: true })
  if (!identity || isEnterable(directory)) return directory
  // The other directory would hide the existing data.
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new Error(
      `${directory} is not empty, and when root starts PostgreSQL, it needs a directory that other users may enter`,
    )
  }
  return join(rememberedFolder(`${directory}.place`), 'data')
}

/** Binaries that the user can run, and a function that removes the copy if one was made. Call it only if the data are not in use. */
export function placeBinaries(
  { initdb, postgres }: Binaries,
  data: string,
  identity: Identity,
): Binaries & { copy?: string; removeCopy: () => void } {
  if (!identity || isEnterable(initdb)) return { initdb, postgres, removeCopy: () => undefined }
  const folder = dirname(data)
  const prefix = `${basename(data)}-server-`
  // Left behind by a killed process.
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

/** Lets other users read and run what the owner can, even with a strict umask. */
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

// Another user may have put a directory or link in the place of one that was cleaned up.
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

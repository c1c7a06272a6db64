import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'

// Reading ends with the pipe, and the pipe with the process that holds its other end. Ctrl-C goes to the whole group, this included.
const SCRIPT = `trap '' INT TERM HUP
read -r _
kill -CONT "$1" 2>/dev/null
kill -INT "$1" 2>/dev/null
while kill -0 "$1" 2>/dev/null; do sleep 0.1; done
[ -z "$2" ] || rm -rf -- "$2"`

/**
 * Ends a server, and removes the copy of its programs, when this process is gone whatever ended it: SIGKILL runs no handler.
 * Windows has no such shell: there the server may stay.
 */
export function endWithThisProcess(server: ChildProcess, copy: string | undefined): void {
  if (process.platform === 'win32') return
  const guardian = spawn('/bin/sh', ['-c', SCRIPT, 'guardian', String(server.pid), copy ?? ''], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // Without a guardian everything else still works.
  guardian.on('error', () => undefined)
  guardian.unref()
  const pipe = guardian.stdin as Socket
  pipe.on('error', () => undefined)
  pipe.unref()
  // A process id that is free may soon be somebody else's.
  server.once('exit', () => guardian.kill('SIGKILL'))
}

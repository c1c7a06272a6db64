import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'

// Reading ends when the parent process ends, which closes the pipe. Signals are ignored, because Ctrl-C goes to the whole group.
const SCRIPT = `trap '' INT TERM HUP
read -r _
kill -CONT "$1" 2>/dev/null
kill -INT "$1" 2>/dev/null
while kill -0 "$1" 2>/dev/null; do sleep 0.1; done
[ -z "$2" ] || rm -rf -- "$2"`

/**
 * Ends a server and removes the copy of its binaries when this process ends, even by SIGKILL, which runs no handler. Windows has
 * no such shell, so there the server may keep running.
 */
export function endWithThisProcess(server: ChildProcess, copy: string | undefined): void {
  if (process.platform === 'win32') return
  const guardian = spawn('/bin/sh', ['-c', SCRIPT, 'guardian', String(server.pid), copy ?? ''], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // Everything else works without a guardian too.
  guardian.on('error', () => undefined)
  guardian.unref()
  const pipe = guardian.stdin as Socket
  pipe.on('error', () => undefined)
  pipe.unref()
  // The guardian must not kill another process that gets the same process id later.
  server.once('exit', () => guardian.kill('SIGKILL'))
}

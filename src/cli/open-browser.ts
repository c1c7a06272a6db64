import { spawn } from 'node:child_process'

const COMMANDS: Partial<Record<NodeJS.Platform, [string, ...string[]]>> = {
  darwin: ['open'],
  win32: ['cmd', '/c', 'start', ''],
}

/** Opens a page in the user's browser with the platform's command. Calls `onError` if there is none. */
export function openBrowser(url: string, onError: (error: Error) => void, platform = process.platform): void {
  const [command, ...args] = COMMANDS[platform] ?? ['xdg-open']
  const opener = spawn(command, [...args, url], { stdio: 'ignore', detached: true })
  opener.once('error', onError)
  opener.unref()
}

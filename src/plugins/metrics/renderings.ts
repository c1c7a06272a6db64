import type { ServerResponse } from 'node:http'

const CROWD = 16
const CROWDED_MS = 1_000

/**
 * Renders the metrics once at a time, for all concurrent requests. While many replies wait to be read, a rendering is reused for
 * a second, so that peers that never read cannot fill the memory with renderings.
 */
export function shareRenderings(render: () => Promise<Buffer>): (response: ServerResponse) => Promise<Buffer> {
  let underway: Promise<Buffer> | undefined
  let last: { rendering: Buffer; at: number } | undefined
  let unread = 0

  async function renderOnce(): Promise<Buffer> {
    try {
      const rendering = await render()
      last = { rendering, at: performance.now() }
      return rendering
    } finally {
      underway = undefined
    }
  }

  return async (response) => {
    unread += 1
    response.once('close', () => {
      unread -= 1
    })
    if (unread > CROWD && last && performance.now() - last.at < CROWDED_MS) return last.rendering
    underway ??= renderOnce()
    return underway
  }
}

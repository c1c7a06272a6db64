/** The files that `/docs` serves, each as one buffer: the document and the files of swagger-ui. */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join } from 'node:path'

export interface SharedFile {
  type: string
  readonly content: Buffer
}

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
}
const STATIC = join(dirname(createRequire(import.meta.url).resolve('@fastify/swagger-ui')), 'static')

interface Describe {
  (): object
  (options: { yaml: true }): string
}

/** @param describe makes the document; called once, at the first request, when every route is registered */
export function readSwaggerFiles(describe: Describe): ReadonlyMap<string, SharedFile> {
  const files = new Map<string, SharedFile>()
  for (const name of readdirSync(STATIC)) {
    const type = TYPES[extname(name)]
    // `index.html` is a redirect there.
    if (type && name !== 'index.html')
      files.set(
        `/docs/static/${name}`,
        once(type, () => readFileSync(join(STATIC, name))),
      )
  }
  files.set(
    '/docs/json',
    once('application/json; charset=utf-8', () => JSON.stringify(describe())),
  )
  files.set(
    '/docs/yaml',
    once('application/x-yaml', () => describe({ yaml: true })),
  )
  return files
}

function once(type: string, render: () => string | Buffer): SharedFile {
  let content: Buffer | undefined
  return {
    type,
    get content() {
      if (!content) {
        const made = render()
        content = typeof made === 'string' ? Buffer.from(made) : made
      }
      return content
    },
  }
}

/** The built page at `/demo`, from memory, under a policy that lets it load and call nothing but its own and the emulator. */
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import helmet from '@fastify/helmet'
import type { FastifyPluginAsync } from 'fastify'

export interface DemoPageOptions {
  /** Where the build is. */
  directory: string
  /** The emulator's origin. */
  clerkUrl: string
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

const page: FastifyPluginAsync<DemoPageOptions> = async (app, { directory, clerkUrl }) => {
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        'default-src': ["'none'"],
        'script-src': ["'self'"],
        'style-src': ["'self'"],
        'img-src': ["'self'"],
        'connect-src': ["'self'", clerkUrl],
        'base-uri': ["'none'"],
        'form-action': ["'none'"],
        'frame-ancestors': ["'none'"],
        'require-trusted-types-for': ["'script'"],
      },
    },
    // Plain HTTP on loopback.
    strictTransportSecurity: false,
  })
  app.get('/', { schema: { hide: true }, logLevel: 'silent' }, async (_request, reply) => reply.redirect('/demo'))
  for (const file of readdirSync(directory, { recursive: true }) as string[]) {
    const type = TYPES[extname(file)]
    if (!type) continue
    const body = readFileSync(join(directory, file))
    const urls = file === 'index.html' ? ['/demo', '/demo/'] : [`/demo/${file}`]
    for (const url of urls) {
      app.get(url, { schema: { hide: true }, logLevel: 'silent' }, async (_request, reply) =>
        reply.type(type).header('cache-control', 'no-cache').send(body),
      )
    }
  }
}
export default page

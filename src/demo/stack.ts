/**
 * The process of examples/compose/try.yml: emulator, service and demo in one container, beside a PostgreSQL that is set.
 * The emulator listens on 127.0.0.1 of the container, where no published port leads. Its bytes are passed on from the container's
 * own address, same port: so browser and service know it by one URL, and its checks of the Host header stay as they are.
 *
 * usage: stack.ts ADDRESS, the name or address of the container.
 */
import { loadConfig } from '../config.ts'
import { embedMissing } from '../embedded/index.ts'
import { explain, serve } from '../server.ts'
import { demoApp } from './app.ts'
import { PAGE_DIRECTORY } from './build.ts'
import { createGate } from './gate.ts'

const TOKEN_TTL_SECONDS = 3_600

try {
  const config = loadConfig(process.env)
  const port = config.PORT + 1
  const embedded = await embedMissing(config, { port, tokenTtlSeconds: TOKEN_TTL_SECONDS })
  if (!embedded.emulator) {
    throw new Error('the demo is for its own emulator: leave NODE_ENV=development and unset CLERK_ISSUER')
  }
  await createGate(embedded.emulator.url, { host: process.argv[2], port })
  await serve(embedded.config, demoApp(PAGE_DIRECTORY))
  console.log(`\n  See it work: http://127.0.0.1:${config.PORT}/demo\n`)
} catch (error) {
  console.error(explain(error))
  process.exit(1)
}

/** The host that `dev` starts where it has a demo to show. */
import { loadConfig } from '../config.ts'
import { explain, serve } from '../server.ts'
import { demoApp } from './app.ts'
import { PAGE_DIRECTORY } from './build.ts'

try {
  await serve(loadConfig(process.env), demoApp(PAGE_DIRECTORY))
} catch (error) {
  console.error(explain(error))
  process.exit(1)
}

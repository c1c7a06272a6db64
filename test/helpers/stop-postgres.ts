/** tap's `after`. */
import { readServer, stopServer } from './postgres-server.ts'

await stopServer(readServer())

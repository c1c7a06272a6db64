/** Stops the PostgreSQL of the run. */
import { readServer, stopServer } from './postgres-server.ts'

await stopServer(readServer())

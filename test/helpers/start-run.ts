/** tap's `before`. */
import { emptyRunLog } from './run-log.ts'
import './start-postgres.ts'

emptyRunLog()

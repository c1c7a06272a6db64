/** An app and a backend as many are: no row is a 401, and a 401 is a redirect to sign-in. Stopped here after six rounds. */
import type { Stage } from './stage.ts'
import { spell } from './timeline.ts'
import type { Person, World } from './world.ts'

export const MAX_ROUNDS = 6

interface OldTelling {
  world: World
  stage: Stage
  person: Person
  sessionId: string
}

export async function oldBackend({ world, stage, person, sessionId }: OldTelling): Promise<void> {
  for (let round = 1; round <= MAX_ROUNDS; round += 1) {
    stage.show('busy', 'Loading…', `round ${round}`)
    const authorization = `Bearer ${await world.token(sessionId)}`
    const { ok } = await stage.fetch('/demo/api/old-backend/profile', { headers: { authorization } })
    if (ok) {
      stage.signedIn(person.name, '')
      const luck = round === 1 ? 'this time the row was there before the call' : `after ${round - 1} rounds`
      return stage.end('signed-in', `Signed in after ${spell(stage.untilSignedInMs)}: ${luck}. Luck, not design.`)
    }
    stage.show('loop', 'Please sign in', 'redirecting to Clerk…', 'accounts.example.com/sign-in')
    await stage.pause()
    stage.note('Clerk: “already signed in”, back to the app')
  }
  stage.show('loop', 'Please sign in', `round ${MAX_ROUNDS} of a loop without end`, 'accounts.example.com/sign-in')
  stage.end(
    'loop',
    `A login loop: ${MAX_ROUNDS} rounds, ${MAX_ROUNDS} times 401, and the token was valid every time. This page stopped here; a real one goes on for ever.`,
  )
}

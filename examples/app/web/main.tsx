import { ClerkProvider, SignIn, useAuth } from '@clerk/react'
import { StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { Orders } from './orders.tsx'

type SignInSettings = { publishableKey: string } | { emulatorUrl: string }
const baseUrl = location.origin

function WithClerk() {
  const auth = useAuth()
  if (auth.isLoaded && !auth.isSignedIn) return <SignIn />
  return <Orders auth={{ ...auth, baseUrl }} signOut={() => auth.signOut()} />
}

/** Without an account at Clerk: somebody signs up at the emulator and is signed in at once. */
function WithEmulator({ url }: { url: string }) {
  const [sessionId, setSessionId] = useState<string | null>(null)
  const ask = async (path: string, body?: object) => {
    const init = { method: 'POST', body: JSON.stringify(body ?? {}), headers: { 'content-type': 'application/json' } }
    return (await fetch(`${url}/emulator${path}`, init)).json()
  }
  async function signUp() {
    const { id } = await ask('/users', { firstName: 'Ada', email: `ada.${Date.now()}@example.com` })
    setSessionId((await ask('/sign-in', { userId: id })).sessionId)
  }
  if (sessionId === null)
    return (
      <button type="button" onClick={signUp}>
        Sign in as Ada
      </button>
    )
  const getToken = async () => (await ask(`/sessions/${sessionId}/token`)).token as string
  const auth = { baseUrl, isLoaded: true, isSignedIn: true, sessionId, getToken }
  return <Orders auth={auth} signOut={() => setSessionId(null)} />
}

const settings: SignInSettings = await (await fetch('/api/sign-in')).json()
createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    {'publishableKey' in settings ? (
      <ClerkProvider publishableKey={settings.publishableKey}>
        <WithClerk />
      </ClerkProvider>
    ) : (
      <WithEmulator url={settings.emulatorUrl} />
    )}
  </StrictMode>,
)

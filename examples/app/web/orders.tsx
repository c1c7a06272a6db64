import { type UseSessionSyncOptions, useSessionSync } from 'clerk-session-sync-client/react'
import { type FormEvent, useCallback, useEffect, useState } from 'react'

interface Order {
  id: number
  item: string
}

/** What a signed-in user sees. Clerk alone decides who is signed in: no answer of the service leads to the sign-in page. */
export function Orders({ auth, signOut }: { auth: UseSessionSyncOptions; signOut: () => void }) {
  const session = useSessionSync(auth)
  if (session.status === 'refused') return <p role="alert">This account cannot be used ({session.error.code}).</p>
  if (session.status === 'failed')
    return (
      <button type="button" onClick={session.retry}>
        Try again
      </button>
    )
  if (session.status !== 'ready') return <p role="status">One moment…</p>
  return (
    <>
      <h1>Orders of {session.user.firstName ?? session.user.email ?? session.user.id}</h1>
      <List fetchApi={session.fetch} />
      <button type="button" onClick={signOut}>
        Sign out
      </button>
    </>
  )
}

function List({ fetchApi }: { fetchApi: (path: string, init?: RequestInit) => Promise<Response> }) {
  const [orders, setOrders] = useState<Order[]>([])
  // The client's functions stay the same as long as the session does.
  const load = useCallback(async () => {
    const response = await fetchApi('/api/orders')
    if (response.ok) setOrders((await response.json()).orders)
  }, [fetchApi])
  useEffect(() => void load(), [load])

  async function add(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    const form = event.currentTarget
    const body = JSON.stringify({ item: new FormData(form).get('item') })
    const answer = await fetchApi('/api/orders', {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    })
    if (answer.ok) form.reset()
    await load()
  }
  return (
    <>
      <form onSubmit={add}>
        <input name="item" aria-label="Item" required maxLength={200} /> <button type="submit">Order</button>
      </form>
      <ul>
        {orders.map(({ id, item }) => (
          <li key={id}>{item}</li>
        ))}
      </ul>
    </>
  )
}

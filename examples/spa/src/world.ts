/** The servers that the page talks to: Clerk (its emulator's levers) and the demo's own routes of the service. */
import type { Happening } from './timeline.ts'

export interface Person {
  id: string
  name: string
}

interface ClerkUser {
  id: string
  first_name: string | null
  last_name: string | null
}

interface Delivery {
  id: string
  type: string
  state: string
  attempts: unknown[]
  body: string
}

const NAMES = ['Grace Hopper', 'Katherine Johnson', 'Alan Turing', 'Radia Perlman', 'Edsger Dijkstra', 'Barbara Liskov']

export type World = Awaited<ReturnType<typeof findWorld>>

export async function findWorld() {
  const { clerkUrl } = (await json('/demo/api/world')) as { clerkUrl: string }
  const clerk = (path: string, body?: object, method = 'POST') => json(`${clerkUrl}/emulator${path}`, body, method)
  const state = () => clerk('/state', undefined, 'GET') as Promise<{ users: ClerkUser[]; deliveries: Delivery[] }>

  return {
    /** Everybody who could sign in, the newest first. */
    people: async (): Promise<Person[]> => (await state()).users.map(toPerson),
    async signUp(): Promise<Person> {
      const name = NAMES[Math.floor(Math.random() * NAMES.length)] as string
      const [firstName = '', lastName] = name.split(' ')
      const email = `${firstName.toLowerCase()}.${crypto.randomUUID().slice(0, 6)}@example.com`
      return toPerson((await clerk('/users', { firstName, lastName, email })) as ClerkUser)
    },
    signIn: (userId: string) => clerk('/sign-in', { userId }) as Promise<{ sessionId: string; token: string }>,
    token: async (sessionId: string) => ((await clerk(`/sessions/${sessionId}/token`)) as { token: string }).token,
    revoke: (sessionId: string) => clerk(`/sessions/${sessionId}/revoke`),
    remove: (userId: string) => clerk(`/users/${userId}`, undefined, 'DELETE'),
    /** A new organization with this user as its member, active in this session. */
    async joinOrganization(userId: string, sessionId: string): Promise<string> {
      const { id } = (await clerk('/organizations', { name: 'Acme' })) as { id: string }
      await clerk(`/organizations/${id}/members`, { userId })
      await clerk(`/sessions/${sessionId}/organization`, { organizationId: id })
      return id
    },
    removeMember: (id: string, userId: string) => clerk(`/organizations/${id}/members/${userId}`, undefined, 'DELETE'),
    webhooks: (switches: object) => clerk('/webhooks', switches),
    /** The webhooks about a user, as Svix sees them. */
    deliveries: async (userId: string) => (await state()).deliveries.filter(({ body }) => body.includes(userId)),
    stopDatabase: (ms: number) => json('/demo/api/database/stop', { ms }),
  }
}

/** Hears of everything that happens in the service; resolves when it does. */
export function follow(hear: (happening: Happening) => void): Promise<void> {
  const source = new EventSource('/demo/api/events')
  source.addEventListener('message', ({ data }) => hear(JSON.parse(data)))
  return new Promise((resolve) => source.addEventListener('open', () => resolve(), { once: true }))
}

const toPerson = ({ id, first_name, last_name }: ClerkUser): Person => ({
  id,
  name: [first_name, last_name].filter(Boolean).join(' ') || id,
})

async function json(url: string, body?: object, method = body ? 'POST' : 'GET'): Promise<unknown> {
  const headers = body ? { 'content-type': 'application/json' } : undefined
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) })
  if (!response.ok) throw new Error(`${method} ${url} was answered ${response.status}`)
  return response.status === 204 ? undefined : response.json()
}

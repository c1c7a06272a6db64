/** The search for a user or the members of an organization. */
import { search } from './api.js'
import { ago, byId, el, pill } from './dom.js'

/** Connects the form; `onError` is called with the error of a failed search. */
export function startSearch(onError) {
  byId('search').addEventListener('submit', async (event) => {
    event.preventDefault()
    const query = byId('query').value.trim()
    if (query === '') return
    try {
      show(query, await search(query))
    } catch (error) {
      byId('found').replaceChildren(el('p', { className: 'bad', textContent: error.message }))
      onError(error)
    }
  })
}

/** Removes the results. */
export const clearSearch = () => byId('found').replaceChildren()

function show(query, { users, sessions, memberships, events }) {
  if (users.length === 0 && memberships.length === 0) {
    byId('found').replaceChildren(el('p', { textContent: `Nothing was found for ${query}.` }))
    return
  }
  byId('found').replaceChildren(
    ...users.map(describe),
    ...table('Sessions', sessions, ({ id, status, updatedAt }) => [id, status, updatedAt]),
    ...table(
      users.length > 0 ? 'Organizations' : `Members of ${memberships[0].organization ?? query}`,
      memberships,
      ({ organization, organizationId, email, userId, role, updatedAt, endedAt }) => [
        `${users.length > 0 ? (organization ?? organizationId) : (email ?? userId)} ${role ?? ''}`,
        endedAt ? 'ended' : 'active',
        endedAt ?? updatedAt,
      ],
    ),
    ...table('Newest events', events, ({ type, outcome, receivedAt }) => [type, outcome, receivedAt]),
  )
}

function describe({ id, email, name, isBanned, syncSource, createdAt, updatedAt, deletedAt }) {
  const state = deletedAt ? 'deleted' : isBanned ? 'banned' : 'active'
  const rows = [
    ['Id', el('code', { textContent: id })],
    ['State', pill(state)],
    ['Email', email ?? '–'],
    ['Name', name ?? '–'],
    ['Last written by', syncSource],
    ['Row created', ago(createdAt)],
    ['Row changed', ago(updatedAt)],
  ]
  return el('dl', {}, ...rows.flatMap(([term, value]) => [el('dt', { textContent: term }), el('dd', {}, value)]))
}

function table(title, items, cells) {
  if (items.length === 0) return []
  return [
    el('h3', { textContent: title }),
    el(
      'ul',
      { className: 'found' },
      ...items.map((item) => {
        const [what, state, at] = cells(item)
        return el('li', {}, el('code', { textContent: what }), pill(state), ago(at))
      }),
    ),
  ]
}

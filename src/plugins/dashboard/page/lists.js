/** Shows health, event types, failed events and the change feed. */
import { ago, byId, count, el, pill, replaceChildren } from './dom.js'

const NAMES = { database: 'Database', jwks: "Clerk's keys", webhooks: 'Webhooks', changes: 'Change feed' }

export function showHealth({ checks }, { tables }) {
  const tiles = Object.entries(NAMES).flatMap(([name, title]) => (checks[name] ? { title, ...checks[name] } : []))
  const figures = [
    { title: 'Users', figure: count(tables.users) },
    { title: 'Sessions', figure: count(tables.sessions) },
    { title: 'Failed events', figure: tables.failedEvents < 1_000 ? count(tables.failedEvents) : '1,000 or more' },
  ]
  replaceChildren(byId('health'), [tiles, figures], () => [
    ...tiles.map(({ title, status, latencyMs, reason }) =>
      el(
        'li',
        { className: 'panel' },
        el('h3', { textContent: title }),
        pill(status),
        el('p', { className: 'quiet', textContent: reason ?? (latencyMs === undefined ? '' : `${latencyMs} ms`) }),
      ),
    ),
    ...figures.map(({ title, figure }) =>
      el('li', { className: 'panel' }, el('h3', { textContent: title }), el('b', { textContent: figure })),
    ),
  ])
}

export function showTypes({ lastByType }) {
  // Always replaced, because the ages change.
  byId('types').replaceChildren(
    ...lastByType.map(({ type, lastReceivedAt, lastOutcome }) =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, el('code', { textContent: type })),
        el('td', {}, lastReceivedAt ? ago(lastReceivedAt) : 'none'),
        el('td', {}, lastOutcome ? pill(lastOutcome) : '–'),
      ),
    ),
  )
}

/** The failed events, each with buttons that call `onReplay` or `onDismiss` with its id. */
export function showFailed({ failedEvents, tables }, actions) {
  replaceChildren(byId('failed'), [failedEvents, tables.failedEvents], () => {
    if (failedEvents.length === 0)
      return [el('li', { className: 'quiet', textContent: 'None. Nothing waits for a replay.' })]
    const items = failedEvents.map((event) => failedItem(event, actions))
    const more = tables.failedEvents - failedEvents.length
    const note = `Older ones are not shown (${count(more)} or more): use the command line's replay.`
    return more > 0 ? [...items, el('li', { className: 'quiet', textContent: note })] : items
  })
}

function failedItem({ id, type, objectId, error, attempts, receivedAt, isReplayable }, { onReplay, onDismiss }) {
  const button = (name, textContent, act, disabled = false) => {
    const made = el('button', { type: 'button', id: `${name}-${id}`, textContent, disabled })
    made.setAttribute('aria-label', `${textContent} ${type} ${id}`)
    made.addEventListener('click', async () => {
      made.setAttribute('aria-disabled', 'true')
      await act(id)
      made.removeAttribute('aria-disabled')
    })
    return made
  }
  const about = objectId ? ` of ${objectId}` : ''
  const times = attempts === 1 ? 'once' : `${count(attempts)} times`
  return el(
    'li',
    {},
    el(
      'div',
      {},
      el('p', {}, el('code', { textContent: type }), about),
      el('p', { className: 'bad', textContent: error ?? 'no reason is stored' }),
      el(
        'p',
        { className: 'quiet' },
        ...[`${id}, received `, ago(receivedAt), `, tried ${times}${isReplayable ? '' : ', its body is not stored'}`],
      ),
    ),
    button('replay', 'Replay', onReplay, !isReplayable),
    button('dismiss', 'Dismiss', onDismiss),
  )
}

/** Shows the consumers of the change feed, and the deliveries that were given up. Hidden while the feed is off. */
export function showChanges({ changes }) {
  byId('changes').hidden = !changes
  if (!changes) return
  const { consumers, deadLetters } = changes
  replaceChildren(byId('consumers'), [consumers], () =>
    consumers.map(({ name, behind, lagSeconds, waiting, dead }) =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, el('code', { textContent: name })),
        el('td', {}, behind === 0 ? 'up to date' : `${count(behind)}, ${count(lagSeconds)} s`),
        el('td', {}, count(waiting)),
        el('td', { className: dead > 0 ? 'bad' : '' }, count(dead)),
      ),
    ),
  )
  replaceChildren(byId('dead-letters'), [deadLetters], () =>
    deadLetters.map(({ consumer, id, type, entityId, attempts, error, deadAt }) =>
      el(
        'li',
        {},
        el(
          'div',
          {},
          el('p', {}, el('code', { textContent: type }), ` of ${entityId}, for ${consumer}`),
          el('p', { className: 'bad', textContent: error ?? 'no reason is stored' }),
          el('p', { className: 'quiet' }, `${id}, given up `, ago(deadAt), ` after ${count(attempts)} attempts`),
        ),
      ),
    ),
  )
}

/** The page. It updates every few seconds while it is visible, and shows a message if the service does not answer. */
import { dismiss, health, overview, replay, token } from './api.js'
import { drawCharts, onColours } from './charts.js'
import { byId } from './dom.js'
import { showChanges, showFailed, showHealth, showTypes } from './lists.js'
import { clearSearch, startSearch } from './search.js'

const EVERY_MS = 5_000
let timer
let latest
let round = 0

async function refresh() {
  clearTimeout(timer)
  round += 1
  const mine = round
  const [healthy, figures] = await Promise.allSettled([health(), overview(byId('range').value)])
  // A newer round has started, and will show its own answer.
  if (mine !== round) return
  if (figures.reason?.status === 401) return askForToken()
  const reason = healthy.reason ?? figures.reason
  showTrouble(reason)
  if (healthy.value) setStatus(healthy.value.status)
  if (figures.value) render(figures.value)
  // Shown even if the figures could not be read, because it says why.
  if (healthy.value && latest) showHealth(healthy.value, latest)
  timer = setTimeout(refresh, EVERY_MS)
}

function render(figures) {
  latest = figures
  byId('content').hidden = byId('controls').hidden = false
  drawCharts(latest)
  showTypes(latest)
  showFailed(latest, { onReplay: replayOne, onDismiss: dismissOne })
  showChanges(latest)
  byId('incomplete').hidden = latest.isComplete
  byId('updated').textContent = `as of ${new Date().toLocaleTimeString('en-GB')}`
}

function setStatus(status) {
  byId('status').textContent = status
  byId('status').dataset.state = status
}

function showTrouble(reason) {
  const isGone = reason?.status === 0
  if (isGone) setStatus('unreachable')
  byId('trouble').hidden = !reason
  byId('content').classList.toggle('stale', Boolean(reason))
  if (!reason) return
  const age = latest ? ' The figures below are old.' : ''
  const text = `${reason.message}.${age} Retrying every ${EVERY_MS / 1000} seconds.`
  if (byId('trouble').textContent !== text) byId('trouble').textContent = text
}

function askForToken() {
  byId('refused').textContent = token.get() ? 'This token is wrong.' : ''
  token.forget()
  latest = undefined
  clearSearch()
  byId('content').hidden = byId('controls').hidden = byId('trouble').hidden = true
  byId('updated').textContent = ''
  setStatus('locked')
  byId('login').hidden = false
  byId('token').focus()
}

async function replayOne(id) {
  try {
    const { outcome, error } = await replay(id)
    byId('replayed').textContent = `${id}: ${outcome}${error ? `: ${error}` : ''}`
    if (outcome !== 'failed') byId('failed-title').focus()
  } catch (error) {
    byId('replayed').textContent = `${id}: ${error.message}`
  }
  await refresh()
}

async function dismissOne(id) {
  try {
    await dismiss(id)
    byId('replayed').textContent = `${id}: dismissed`
    byId('failed-title').focus()
  } catch (error) {
    byId('replayed').textContent = `${id}: ${error.message}`
  }
  await refresh()
}

byId('login').addEventListener('submit', (event) => {
  event.preventDefault()
  token.set(byId('token').value.trim())
  byId('token').value = ''
  byId('login').hidden = true
  byId('forget').hidden = false
  setStatus('loading')
  refresh()
})
byId('forget').addEventListener('click', () => {
  round += 1
  clearTimeout(timer)
  token.forget()
  askForToken()
})
byId('range').addEventListener('change', refresh)
onColours(() => latest && drawCharts(latest))
document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer)
  else if (byId('login').hidden) refresh()
})
startSearch((error) => error.status === 401 && askForToken())

token.takeFromLink()
byId('forget').hidden = !token.get()
if (token.get()) refresh()
else askForToken()

/** Makes elements from data. Strings always become text, never HTML. */

export const byId = (id) => document.getElementById(id)

/** Makes an element with these properties and children; `data` holds its data attributes. */
export function el(tag, { data = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties)
  Object.assign(element.dataset, data)
  element.append(...children.filter((child) => child !== null))
  return element
}

const shown = new WeakMap()

/** Replaces the children if `value` has changed. The focus stays on the element with the same id. */
export function replaceChildren(parent, value, build) {
  const key = JSON.stringify(value)
  if (shown.get(parent) === key) return
  shown.set(parent, key)
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : ''
  parent.replaceChildren(...build())
  if (focused) byId(focused)?.focus()
}

export const pill = (text) => el('span', { className: 'pill', textContent: text, data: { state: text } })

const STEPS = [
  [60, 'second'],
  [3_600, 'minute'],
  [86_400, 'hour'],
  [Number.POSITIVE_INFINITY, 'day'],
]
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

/** Shows how long ago a time was; the exact time on hover. */
export function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000
  const at = STEPS.findIndex(([limit]) => seconds < limit)
  const unitSeconds = at === 0 ? 1 : STEPS[at - 1][0]
  const text = seconds < 5 ? 'just now' : relative.format(-Math.floor(seconds / unitSeconds), STEPS[at][1])
  return el('time', { dateTime: iso, title: new Date(iso).toLocaleString(), textContent: text })
}

export const count = (n) => Math.round(n).toLocaleString('en')

/** The charts. uPlot draws them; the legend is HTML, so that a screen reader can read it. */
import { byId, count, el } from './dom.js'
import UPlot from './uplot.js'

const HEIGHT = 190
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7]
const charts = new Map()
const dark = matchMedia('(prefers-color-scheme: dark)')

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
const seconds = (value) => {
  if (value === null || value === undefined) return '–'
  if (value < 1) return `${brief(value * 1000)} ms`
  return value < 120 ? `${brief(value)} s` : `${brief(value / 60)} min`
}
// Not rounded to integers, because ticks can be at quarters.
const brief = (value) => Number(value.toPrecision(3)).toLocaleString('en')
const sum = (values) => values.reduce((total, value) => total + value, 0)
const last = (values) => values.findLast((value) => value !== null)

// The number of rows at the end of each bucket: the current number, minus the rows that were created since.
function rowsOverTime(buckets, now) {
  let rows = now
  return buckets
    .toReversed()
    .map(({ usersCreated }) => {
      const atEnd = rows
      rows = Math.max(0, rows - usersCreated)
      return atEnd
    })
    .toReversed()
}

/** Draws all charts from an overview of the API. */
export function drawCharts({ buckets, tables }) {
  const x = buckets.map(({ at }) => Date.parse(at) / 1000)
  const of = (name) => buckets.map((bucket) => bucket[name])
  const outcomes = ['applied', 'stale', 'ignored', 'failed']
  draw('deliveries', x, {
    isStacked: true,
    series: outcomes.map((name) => ({ label: name, colour: name, values: of(name), format: count, total: sum })),
  })
  draw('delay', x, {
    axis: seconds,
    series: [
      { label: 'median', colour: 'applied', values: of('delayMedianSeconds'), format: seconds, total: last },
      { label: '95th percentile', colour: 'stale', values: of('delayP95Seconds'), format: seconds, total: last },
    ],
  })
  draw('users', x, {
    series: [
      { label: 'rows', colour: 'applied', values: rowsOverTime(buckets, tables.users), format: count, total: last },
      { label: 'created', colour: 'created', values: of('usersCreated'), format: count, total: sum, scale: 'change' },
      { label: 'deleted', colour: 'failed', values: of('usersDeleted'), format: count, total: sum, scale: 'change' },
    ],
  })
  const codes = new Set(['OK', ...buckets.flatMap(({ auth }) => Object.keys(auth))])
  draw('auth', x, {
    isStacked: true,
    series: [...codes].map((code, i) => ({
      label: code,
      colour: i === 0 ? 'applied' : `code-${(i - 1) % 6}`,
      values: buckets.map(({ auth }) => auth[code] ?? 0),
      format: count,
      total: sum,
    })),
  })
}

function draw(id, x, spec) {
  const shape = JSON.stringify([dark.matches, spec.series.map(({ label }) => label)])
  let chart = charts.get(id)
  if (chart?.shape !== shape) {
    chart?.destroy()
    chart = create(byId(id), shape, spec)
    charts.set(id, chart)
  }
  chart.update(x, spec)
}

function create(figure, shape, { isStacked = false, axis = count, series }) {
  const legend = el('ul', { className: 'legend' })
  const host = el('div', { className: 'chart', tabIndex: 0 })
  host.setAttribute('role', 'img')
  figure.append(host, legend)
  let now = { x: [], series }

  const line = { stroke: colour('quiet'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false } }
  const y = { ...line, size: 56, values: (_u, ticks) => ticks.map(axis), incrs: axis === count ? WHOLE : undefined }
  const hasChange = series.some(({ scale }) => scale)
  const floor = (_u, _min, max) => [0, Math.max(1, max * 1.1)]
  const plot = new UPlot(
    {
      width: host.clientWidth || 300,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: {
        // Up to the end of the last bucket, so that its bar is visible.
        x: { range: (_u, min, max) => [min, max + (now.x[1] ?? 0) - (now.x[0] ?? 0)] },
        y: { range: axis === count ? floor : (_u, _min, max) => [0, Math.max(0.01, max * 1.1)] },
        change: { range: floor },
      },
      axes: [
        { ...line, size: 30, space: 60, values: (_u, ticks) => ticks.map(clock) },
        y,
        ...(hasChange ? [{ ...y, scale: 'change', side: 1, grid: { show: false }, size: 40 }] : []),
      ],
      series: [{}, ...series.map((one) => styleOf(one, isStacked))],
      hooks: { setCursor: [() => describe()] },
    },
    [[], ...series.map(() => [])],
    host,
  )

  function describe() {
    const at = plot.cursor.idx
    const isAt = at !== null && at !== undefined && now.x[at] !== undefined
    const values = now.series.map(({ values, format, total }) => format(isAt ? values[at] : total(values)))
    const when = isAt ? clock(now.x[at]) : ''
    legend.replaceChildren(
      ...now.series.map(({ label, colour: name }, i) =>
        el('li', {}, el('i', { data: { colour: name } }), `${label} `, el('b', { textContent: values[i] })),
      ),
      el('li', { className: 'quiet', textContent: when && `at ${when}` }),
    )
    const title = figure.querySelector('h3').textContent
    host.setAttribute('aria-label', `${title}: ${now.series.map(({ label }, i) => `${label} ${values[i]}`).join(', ')}`)
  }

  host.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (!step) return
    event.preventDefault()
    const at = Math.min(now.x.length - 1, Math.max(0, (plot.cursor.idx ?? now.x.length) + step))
    plot.setCursor({ left: plot.valToPos(now.x[at], 'x'), top: 10 })
  })
  host.addEventListener('blur', () => plot.setCursor({ left: -10, top: -10 }))
  const observer = new ResizeObserver(() => plot.setSize({ width: host.clientWidth, height: HEIGHT }))
  observer.observe(host)

  return {
    shape,
    update(x, spec) {
      now = { x, series: spec.series }
      plot.setData([x, ...(isStacked ? stack(spec.series) : spec.series.map(({ values }) => values))])
      describe()
    },
    destroy() {
      observer.disconnect()
      plot.destroy()
      host.remove()
      legend.remove()
    },
  }
}

const clock = (at) => new Date(at * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })

function styleOf({ colour: name, scale }, isStacked) {
  const stroke = colour(name)
  if (isStacked || scale) {
    const paths = UPlot.paths.bars({ size: [0.8, 24], align: 1 })
    return { stroke, fill: stroke, width: 0, paths, points: { show: false }, scale: scale ?? 'y' }
  }
  return { stroke, width: 2, spanGaps: true, points: { show: true, size: 5, fill: stroke }, scale: 'y' }
}

// Every bar starts at 0, and a later series is drawn over an earlier one. So each series is drawn with the sum of itself and all
// later ones.
function stack(series) {
  return series.map((_, i) => series[0].values.map((_, at) => sum(series.slice(i).map(({ values }) => values[at]))))
}

/** Calls `again` when the colour scheme changes. */
export const onColours = (again) => dark.addEventListener('change', again)

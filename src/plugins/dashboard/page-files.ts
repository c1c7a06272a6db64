/** The files of the page, read once at startup. */
import { readFileSync } from 'node:fs'

export interface PageFile {
  path: string
  type: string
  content: Buffer
}

const OWN = ['style.css', 'main.js', 'api.js', 'charts.js', 'dom.js', 'lists.js', 'search.js']
const TYPES = { css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8' }

const typeOf = (path: string) => TYPES[path.split('.').at(-1) as keyof typeof TYPES]
const own = (name: string) => readFileSync(new URL(`page/${name}`, import.meta.url))
const installed = (name: string) => readFileSync(new URL(import.meta.resolve(name)))

/** The page at `/dashboard` and the files that it loads. */
export function readPageFiles(): PageFile[] {
  const files = [
    ...OWN.map((name) => ({ name, content: own(name) })),
    { name: 'uplot.js', content: installed('uplot/dist/uPlot.esm.js') },
    { name: 'uplot.css', content: installed('uplot/dist/uPlot.min.css') },
  ]
  return [
    { path: '/dashboard', type: 'text/html; charset=utf-8', content: own('index.html') },
    ...files.map(({ name, content }) => ({ path: `/dashboard/${name}`, type: typeOf(name), content })),
  ]
}

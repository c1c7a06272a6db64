/** Builds the demo's page with Vite. The package as it is installed has neither, and no demo. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where `dev` has the page built. */
export const PAGE_DIRECTORY = '.data/demo'

const SOURCES = fileURLToPath(new URL('../../examples/spa', import.meta.url))

/** Whether there is a page to build; then it is in the directory. */
export async function buildDemo(directory: string, sources = SOURCES): Promise<boolean> {
  if (!existsSync(sources)) return false
  const { build } = await import('vite')
  await build({
    configFile: false,
    root: sources,
    base: '/demo/',
    logLevel: 'warn',
    build: {
      outDir: resolve(directory),
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: { polyfill: false },
      // The page's policy allows no data: addresses.
      assetsInlineLimit: 0,
    },
  })
  return true
}

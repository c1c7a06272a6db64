import { globSync } from 'node:fs'
import { test } from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { ROOT, read, settingNames } from './markdown.ts'

interface Step {
  uses?: string
}
interface Workflow {
  permissions: Record<string, string>
  jobs: Record<
    string,
    { steps: Step[]; 'timeout-minutes'?: number; strategy?: { matrix: { include: Record<string, string>[] } } }
  >
}
const paths = globSync('.github/workflows/*.yml', { cwd: ROOT })
const workflow = (path: string) => parse(read(path)) as Workflow

test('every action is pinned to a commit, with its version beside it, and tokens may only read', async (t) => {
  t.equal(paths.length, 3)
  for (const path of paths) {
    t.strictSame(workflow(path).permissions, { contents: 'read' }, path)
    const used = [...read(path).matchAll(/uses: (.*)$/gm)].map(([, action = '']) => action)
    t.ok(used.length > 0, path)
    for (const action of used) t.match(action, /^[\w-]+\/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
  }
})

test('the checks run on every supported Node.js and PostgreSQL', async (t) => {
  const matrix = workflow('.github/workflows/ci.yml').jobs.check?.strategy?.matrix.include ?? []
  const valuesOf = (name: string) => [...new Set(matrix.map((entry) => entry[name]))].toSorted()
  t.strictSame(valuesOf('node'), ['22', '24', 'current'])
  t.strictSame(valuesOf('postgres'), ['14', '15', '16', '17', '18'])
})

interface Container {
  image: string
  command?: string[]
  securityContext: object
}
interface Manifest {
  kind: string
  data?: Record<string, string>
  spec: { template: { spec: { containers: Container[]; securityContext: object } } }
}

test('Kubernetes: containers are confined as in compose, and every setting is known', async (t) => {
  const manifests = globSync('examples/kubernetes/*.yml', { cwd: ROOT }).flatMap((path) =>
    parseAllDocuments(read(path)).map((document) => document.toJS() as Manifest),
  )
  t.strictSame(manifests.map(({ kind }) => kind).toSorted(), [
    'ConfigMap',
    'Deployment',
    'HorizontalPodAutoscaler',
    'Job',
    'NetworkPolicy',
    'PodDisruptionBudget',
    'Secret',
    'Service',
    'ServiceMonitor',
  ])
  for (const { kind, spec } of manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'Job')) {
    t.match(spec.template.spec.securityContext, { runAsNonRoot: true, runAsUser: 1000 }, kind)
    for (const { securityContext } of spec.template.spec.containers) {
      const confined = {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      }
      t.strictSame(securityContext, confined, kind)
    }
  }
  const settings = manifests.find(({ kind }) => kind === 'ConfigMap')?.data ?? {}
  for (const name of Object.keys(settings)) t.ok(settingNames().includes(name.replace(/_FILE$/, '')), name)
})

/** What the shells ask and are told. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'tap'
import { main } from '../../src/cli/index.ts'
import { ROOT, runNode } from '../helpers/process.ts'

const CLI = join(ROOT, 'src/cli/index.ts')

test('each shell gets its script, and an unknown shell is a usage error', async (t) => {
  for (const [shell, sign] of [
    ['bash', /complete -F/],
    ['zsh', /#compdef clerk-session-sync/],
    ['fish', /complete -c clerk-session-sync/],
  ] as const) {
    const run = runNode(t, [CLI, 'completion', shell], {})
    t.equal(await run.exit, 0)
    t.match(run.stdout(), sign, shell)
  }
  const silent = { write: () => true }
  const host = {
    env: {},
    stdin: () => process.stdin,
    stdout: silent,
    stderr: silent,
    watchSignals: () => AbortSignal.any([]),
  }
  t.strictSame(await main(['completion', 'tcsh'], host), { code: 2 })
  t.strictSame(await main(['completion'], host), { code: 2 })
})

test('commands, subcommands and options are completed', async (t) => {
  for (const [line, expected] of [
    [['re'], ['reconcile', 'replay']],
    [
      ['changes', ''],
      ['help', 'retry', 'status', 'tail'],
    ],
    [
      ['backfill', '--'],
      ['--dry-run', '--emit', '--json', '--lanes', '--restart'],
    ],
  ] as const) {
    const run = runNode(t, [CLI, 'complete', '--', ...line], {})
    t.equal(await run.exit, 0)
    const told = run
      .stdout()
      .trim()
      .split('\n')
      .flatMap((entry) => (/^:\d+$/.test(entry) ? [] : (entry.split('\t')[0] ?? [])))
    t.strictSame(told.filter((name) => name !== '--help').toSorted(), expected, line.join(' '))
  }
})

test('bash completes by its script', async (t) => {
  const directory = t.testdir()
  // The function of the package bash-completion that the script builds on, which every desktop has and servers may lack.
  const script = `set -u
    _get_comp_words_by_ref() { cur=\${COMP_WORDS[COMP_CWORD]}; prev=\${COMP_WORDS[COMP_CWORD-1]}; words=("\${COMP_WORDS[@]}"); cword=$COMP_CWORD; }
    clerk-session-sync() { ${process.execPath} ${CLI} "$@"; }
    eval "$(clerk-session-sync completion bash)"
    COMP_WORDS=(clerk-session-sync doc); COMP_CWORD=1; COMP_LINE='clerk-session-sync doc'; COMP_POINT=\${#COMP_LINE}; COMPREPLY=()
    "$(complete -p clerk-session-sync | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" clerk-session-sync doc clerk-session-sync
    printf '%s\\n' "\${COMPREPLY[@]}"`
  const bash = spawnSync('bash', ['-c', script], { cwd: directory, encoding: 'utf8' })
  t.match(bash.stdout, /^doctor\b/m, bash.stderr)
})

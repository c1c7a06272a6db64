import { decimal, table } from '../../bench/table.ts'
import type { Report } from './soak.ts'

/** The report as tables. */
export function format(report: Report): string {
  const { requests, faults, memoryMb } = report
  const disk = report.isDiskReal ? 'disk full (a real file system)' : 'disk full (its SQLSTATE raised by a trigger)'
  return [
    table(
      ['fault', 'times'],
      Object.entries(faults).map(([name, times]) => [name.replace('disk full', disk), decimal(times)]),
    ),
    table(
      ['requests', 'ok', '503', 'no answer', 'wrong', 'longest ms'],
      Object.entries(requests).map(([kind, { ok, refused, unanswered, wrong, longestMs }]) => [
        kind,
        ...[ok, refused, unanswered, wrong, longestMs].map((figure) => decimal(figure)),
      ]),
    ),
    table(
      [`seed ${report.seed}, ${decimal(report.seconds)} s`, ''],
      [
        ['webhooks acknowledged', decimal(report.acknowledged)],
        ['of these found', decimal(report.found)],
        ['lost', decimal(report.lost)],
        ['changes in the feed', decimal(report.feed.changes)],
        ['of these lost', decimal(report.feed.lost)],
        ['out of order', decimal(report.feed.outOfOrder)],
        ['longest answer, ms', decimal(report.longestMs)],
        ['memory at the start, MB', decimal(memoryMb.start)],
        ['memory at the end, MB', decimal(memoryMb.end)],
      ],
    ),
  ].join('\n\n')
}

/** Shares one computation among callers at about the same time. */

export interface Shared<Key, Answer> {
  /** The answer for this key, at most `freshMs` old. */
  get: (key: Key) => Promise<Answer>
  /** Discards the answers, after a change that the next one must show. */
  forget: () => void
}

/** An error rejects the callers that waited for it, but is not kept for later ones. */
export function share<Key, Answer>(compute: (key: Key) => Promise<Answer>, freshMs: number): Shared<Key, Answer> {
  const kept = new Map<Key, { askedAt: number; answer: Promise<Answer> }>()

  return {
    get(key) {
      const last = kept.get(key)
      if (last && performance.now() - last.askedAt < freshMs) return last.answer
      const answer = compute(key)
      kept.set(key, { askedAt: performance.now(), answer })
      answer.catch(() => kept.delete(key))
      return answer
    },
    forget: () => kept.clear(),
  }
}

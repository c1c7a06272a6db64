/** One computation for everybody who asks at about the same time. */

export interface Shared<Key, Answer> {
  /** The answer to this key, computed no longer than so many ms ago. */
  get: (key: Key) => Promise<Answer>
  /** Has the next one computed anew: something was changed that it must show. */
  forget: () => void
}

/** An error goes to those who waited for it, and to nobody after them. */
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

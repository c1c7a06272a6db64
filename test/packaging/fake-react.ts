/**
 * As much of React as one component with hooks needs, and as strict as React's development mode: the first effects are
 * cleaned up and run once more. No children are rendered; a test looks at the element that the component returned.
 */
type Dependencies = readonly unknown[] | undefined
interface Slot {
  value?: unknown
  dependencies?: Dependencies
  cleanup?: (() => void) | undefined
}

export interface Element {
  type: unknown
  props: Record<string, unknown>
}

let slots: Slot[] = []
let at = 0
const effects: (() => void)[] = []
let isStale = false

const isSame = (a: Dependencies, b: Dependencies) =>
  a !== undefined && b !== undefined && a.length === b.length && a.every((item, index) => Object.is(item, b[index]))

function slot(): [Slot, isFirst: boolean] {
  const isFirst = at === slots.length
  if (isFirst) slots.push({})
  at += 1
  return [slots[at - 1] as Slot, isFirst]
}

export function useState<T>(initial: T): [T, (next: T) => void] {
  const [own, isFirst] = slot()
  if (isFirst) own.value = initial
  const set = (next: T) => {
    if (Object.is(own.value, next)) return
    own.value = next
    isStale = true
  }
  return [own.value as T, set]
}

export function useMemo<T>(make: () => T, dependencies: Dependencies): T {
  const [own, isFirst] = slot()
  if (isFirst || !isSame(own.dependencies, dependencies)) own.value = make()
  own.dependencies = dependencies
  return own.value as T
}

export function useEffect(run: () => (() => void) | undefined, dependencies: Dependencies): void {
  const [own, isFirst] = slot()
  if (!isFirst && isSame(own.dependencies, dependencies)) return
  own.dependencies = dependencies
  effects.push(() => {
    own.cleanup?.()
    own.cleanup = run()
    if (!isFirst) return
    own.cleanup?.()
    own.cleanup = run()
  })
}

export const createContext = (value: unknown) => ({ value, Provider: Symbol('Provider') })
export const useContext = (context: { value: unknown }) => context.value

export const jsx = (type: unknown, props: Record<string, unknown>): Element => ({ type, props })
export const jsxs = jsx

/** Mounts a component, in the place of the one before. Its `render` renders until nothing changes any more. */
export function mount<P>(component: (props: P) => Element, props: P): { render(): Element } {
  slots = []
  isStale = false
  return {
    render() {
      for (let rounds = 0; rounds < 20; rounds += 1) {
        at = 0
        isStale = false
        const element = component(props)
        for (const effect of effects.splice(0)) effect()
        if (!isStale) return element
      }
      throw new Error('it renders without end')
    },
  }
}

/** The form, and what it starts. */
import { get, Stage } from './stage.ts'
import { isForOldBackend, STORIES, type Story, tell } from './stories.ts'
import { element } from './timeline.ts'
import { findWorld, follow, type Person } from './world.ts'

const form = get<HTMLFormElement>('story')
const who = get<HTMLSelectElement>('who')
const go = get<HTMLButtonElement>('go')
const compare = get<HTMLButtonElement>('compare')
const stage = new Stage()
let people: Person[] = []

for (const [index, { id, title, text }] of STORIES.entries()) {
  const input = Object.assign(document.createElement('input'), { type: 'radio', name: 'wrong', value: id })
  input.checked = index === 0
  const card = element('label', 'card')
  const body = element('span', '')
  body.append(element('b', '', title), element('small', '', text))
  card.append(input, body)
  get('cards').append(card)
}

const chosen = (name: string) => String(new FormData(form).get(name))
const radio = (name: string, value: string) =>
  form.querySelector(`input[name="${name}"][value="${value}"]`) as HTMLInputElement

// An old backend has nothing to say to the other stories.
function fit(): void {
  const isOld = chosen('backend') === 'old'
  for (const story of STORIES) radio('wrong', story.id).disabled = isOld && !isForOldBackend(story)
  if (!new FormData(form).has('wrong')) radio('wrong', 'lose').checked = true
}

async function listPeople(): Promise<void> {
  const before = who.value
  people = await world.people()
  who.replaceChildren(
    new Option('A new user, who signs up now', ''),
    ...people.map(({ id, name }) => new Option(name, id)),
  )
  who.value = people.some(({ id }) => id === before) ? before : ''
}

async function play(story: Story, isOld: boolean, person: Person | undefined): Promise<void> {
  form.ariaBusy = go.ariaDisabled = 'true'
  go.textContent = 'Signing in…'
  compare.hidden = true
  stage.reset()
  get('stage').scrollIntoView({ block: 'start' })
  try {
    await tell({ world, stage, story, person, isOld })
  } catch (error) {
    stage.show('out', 'The demo broke', '')
    stage.end('broken', `The demo broke: ${error instanceof Error ? error.message : error}`)
  }
  await listPeople()
  compare.hidden = !isOld
  form.ariaBusy = go.ariaDisabled = 'false'
  go.textContent = 'Sign in'
}

const world = await findWorld()
await follow((happening) => stage.hear(happening))
await listPeople()
form.addEventListener('change', fit)
form.addEventListener('submit', (event) => {
  event.preventDefault()
  if (form.ariaBusy === 'true') return
  const story = STORIES.find(({ id }) => id === chosen('wrong')) as Story
  const person = people.find(({ id }) => id === who.value)
  void play(story, chosen('backend') === 'old', person)
})
compare.addEventListener('click', () => {
  radio('backend', 'service').checked = true
  fit()
  form.requestSubmit()
})
form.dataset.ready = 'true'

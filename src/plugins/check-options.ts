/** Checks the options of plugins, because a caller in JavaScript has no compiler that does, and a mistake could open a route. */
import { type TObject, type TSchema, Type } from '@sinclair/typebox'
import { Value, ValueErrorType } from '@sinclair/typebox/value'

/** The schema of a plugin's options: all of them, so that an unknown one is a mistake. */
export const optionsOf = <Options>(properties: { [Name in keyof Required<Options>]: TSchema }): TObject =>
  Type.Object(properties, { additionalProperties: false })

// The description of a schema completes "expected …".
export const text = (description: string) => Type.String({ minLength: 1, description })
export const secret = (minLength: number) =>
  Type.String({ minLength, description: `a secret of at least ${minLength} characters` })
export const texts = (description: string) =>
  Type.Array(text(description), { description: `an array of ${description}` })
export const flag = Type.Optional(Type.Boolean({ description: 'true or false' }))
export const number = Type.Number({ minimum: 0, description: 'a number' })
export const object = Type.Object({}, { description: 'an object' })
export const callback = Type.Optional(Type.Function([], Type.Any(), { description: 'a function' }))
export const optional = <T extends TSchema>(schema: T) => Type.Optional(schema)

export const backendApi = Type.Object(
  { secretKey: text('the secret key, sk_test_… or sk_live_… (CLERK_SECRET_KEY)') },
  { description: 'an object with secretKey' },
)

/** @throws TypeError that names the plugin, the option and what it expects */
export function checkOptions(plugin: string, schema: TObject, options: unknown): void {
  const error = Value.Errors(schema, options).First()
  if (!error) return
  const name = error.path.slice(1).replaceAll('/', '.')
  if (error.type !== ValueErrorType.ObjectAdditionalProperties) {
    throw new TypeError(`${plugin}: ${name}: expected ${error.schema.description}`)
  }
  if (name !== 'prefix') {
    throw new TypeError(`${plugin}: unknown option: ${name}. Known: ${Object.keys(schema.properties).join(', ')}`)
  }
  // Fastify ignores it for plugins that share their decorators.
  throw new TypeError(
    `${plugin} does not support prefix: register it in a context that has one, app.register(async (api) => api.register(${plugin}, …), { prefix })`,
  )
}

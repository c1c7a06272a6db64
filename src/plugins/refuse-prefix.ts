/**
 * Refuses the option `prefix`, which Fastify keeps from plugins that share their decorators: it would change nothing, without a word.
 * @throws TypeError that names the remedy
 */
export function refusePrefix(plugin: string, options: object): void {
  if ('prefix' in options) {
    throw new TypeError(
      `${plugin} takes no prefix: register it in a context that has one, app.register(async (api) => api.register(${plugin}, …), { prefix })`,
    )
  }
}

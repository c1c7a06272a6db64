/**
 * Refuses the option `prefix`, because Fastify ignores it silently for plugins that share their decorators.
 * @throws TypeError that names the remedy
 */
export function refusePrefix(plugin: string, options: object): void {
  if ('prefix' in options) {
    throw new TypeError(
      `${plugin} does not support prefix: register it in a context that has one, app.register(async (api) => api.register(${plugin}, …), { prefix })`,
    )
  }
}

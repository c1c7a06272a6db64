/** The event type of the command line's test deliveries, which change nothing and are not counted as webhooks from Clerk. */
export const TEST_EVENT_TYPE = 'clerk-session-sync.test'

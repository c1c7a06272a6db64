/** The type of deliveries that the command line makes to test the endpoint: they change nothing, and count as none of Clerk's. */
export const TEST_EVENT_TYPE = 'clerk-session-sync.test'

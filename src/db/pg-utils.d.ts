declare module 'pg/lib/utils.js' {
  const utils: {
    /** A value of JavaScript's as the text that PostgreSQL reads. */
    prepareValue: (value: unknown) => unknown
  }
  export default utils
}

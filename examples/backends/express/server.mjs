import express from 'express'
import pg from 'pg'

const { PORT = '8080', DATABASE_URL } = process.env
const pool = new pg.Pool({ connectionString: DATABASE_URL })
const app = express()

// The proxy has replaced whatever the client sent under these names.
app.use((request, response, next) => {
  const header = (name) => decodeURIComponent(request.get(`x-auth-request-${name}`) ?? '')
  request.user = { id: header('user'), email: header('email') || null, role: header('role') || null }
  if (request.user.id === '') return response.status(401).json({ code: 'NOT_BEHIND_PROXY' })
  next()
})

app.get('/me', (request, response) => {
  response.json(request.user)
})

app.get('/account', async (request, response) => {
  const { rows } = await pool.query(
    'select id, email, first_name as "firstName" from clerk.users where id = $1 and deleted_at is null',
    [request.user.id],
  )
  response.json(rows[0])
})

app.get('/admin', (request, response) => {
  if (request.user.role !== 'org:admin') return response.status(403).json({ code: 'ADMINS_ONLY' })
  response.json({ welcome: request.user.id })
})

app.listen(Number(PORT), '127.0.0.1')

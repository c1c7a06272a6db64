# frozen_string_literal: true

require 'json'
require 'pg'
require 'uri'

# The proxy has replaced whatever the client sent under these names.
class Api
  def call(env)
    id = header(env, 'USER')
    return reply(401, code: 'NOT_BEHIND_PROXY') if id.nil?

    case env['PATH_INFO']
    when '/me' then reply(200, id: id, email: header(env, 'EMAIL'), role: header(env, 'ROLE'))
    when '/account' then reply(200, account(id))
    when '/admin' then header(env, 'ROLE') == 'org:admin' ? reply(200, welcome: id) : reply(403, code: 'ADMINS_ONLY')
    else reply(404, code: 'NOT_FOUND')
    end
  end

  private

  # Latin-1, percent-encoded beyond it.
  def header(env, name)
    sent = env["HTTP_X_AUTH_REQUEST_#{name}"].to_s.dup.force_encoding('ISO-8859-1').encode('UTF-8')
    text = URI::DEFAULT_PARSER.unescape(sent).force_encoding('UTF-8')
    text.empty? ? nil : text
  end

  def account(id)
    connection = PG.connect(ENV.fetch('DATABASE_URL'))
    sql = 'select id, email, first_name as "firstName" from clerk.users where id = $1 and deleted_at is null'
    connection.exec_params(sql, [id]).first
  ensure
    connection&.close
  end

  def reply(status, body)
    [status, { 'content-type' => 'application/json' }, [JSON.generate(body)]]
  end
end

run Api.new

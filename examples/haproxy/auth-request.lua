-- Forward-auth for HAProxy: asks clerk-session-sync whether the request may pass. See haproxy.cfg.

-- What the service needs to know of the request. Nothing else of the client goes there.
local ASKED = {
  'authorization', 'cookie', 'host', 'origin', 'sec-fetch-site', 'access-control-request-method', 'user-agent',
}
local IDENTITY = {
  'x-auth-request-user', 'x-auth-request-email', 'x-auth-request-session', 'x-auth-request-organization',
  'x-auth-request-organization-slug', 'x-auth-request-role', 'x-auth-request-permissions', 'x-auth-request-plan',
  'x-auth-request-features', 'x-auth-request-actor',
}
-- HAProxy makes these itself.
local OWN = { ['content-length'] = true, ['connection'] = true, ['keep-alive'] = true, ['transfer-encoding'] = true }
local TIMEOUT_MS = 15000
local UNAVAILABLE = '{"statusCode":503,"code":"AUTH_UNAVAILABLE","error":"Service Unavailable",'
  .. '"message":"Refused before the application","requestId":"%s"}'

-- HAProxy counts the values of a header from 0, Lua from 1.
local function values(list)
  local copy = {}
  local index = 0
  while list and list[index] ~= nil do
    copy[index + 1] = list[index]
    index = index + 1
  end
  return copy
end

local function refuse(txn, status, headers, body)
  local reply = txn:reply{ status = status, body = body }
  for name, list in pairs(headers) do
    for _, value in ipairs(list) do reply:add_header(name, value) end
  end
  txn:done(reply)
end

core.register_action('clerk_auth', { 'http-req' }, function(txn)
  local sent = txn.http:req_get_headers()
  local headers = {
    ['x-forwarded-method'] = { txn.sf:method() },
    ['x-forwarded-for'] = { txn.sf:src() },
  }
  for _, name in ipairs(ASKED) do
    if sent[name] then headers[name] = values(sent[name]) end
  end
  local answer = core.httpclient():get{ url = txn:get_var('txn.clerk_verify'), headers = headers, timeout = TIMEOUT_MS }

  -- Each answer of the service has this header; without it, it is none of the service's.
  if not answer or not answer.headers or not answer.headers[IDENTITY[1]] then
    local id = txn.sf:uuid()
    return refuse(txn, 503, {
      ['content-type'] = { 'application/json' }, ['retry-after'] = { '1' }, ['cache-control'] = { 'no-store' },
    }, string.format(UNAVAILABLE, id))
  end
  if answer.status ~= 200 then
    local kept = {}
    for name, list in pairs(answer.headers) do
      if not OWN[name] then kept[name] = values(list) end
    end
    return refuse(txn, answer.status, kept, answer.body)
  end
  for _, name in ipairs(IDENTITY) do
    local value = values(answer.headers[name])[1] or ''
    txn.http:req_del_header(name)
    if value ~= '' then txn.http:req_add_header(name, value) end
  end
end, 0)

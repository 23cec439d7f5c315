#!lua name=kickoff1
-- fanout/kickoff.lua -- the only code that writes the signal log, as a library of Redis Functions: each
-- call runs alone, so it happens whole or not at all. It compares and counts; what may be done to an event
-- is decided in event.c. The 1 in the names is the major version: nodes of another major keep their own.
--
-- A script that fails half-way is not rolled back. So everything that can fail is looked at before the
-- first write: types and versions by reading, permissions by asking (out of memory, read-only and missing
-- replicas are refused by Redis before a writing function begins). No randomness in here: tags and epochs
-- come from the caller. Numbers are doubles: exact up to 2^53.

local TRIM_EVERY = 256 -- appends between two looks at the log's tail ...
local TRIM_STEP = 512  -- ... and how many entries one look may remove: faster than they come

local function meta_of(key)
  local meta = redis.call('HMGET', key, 'epoch', 'seq', 'tag')
  if not meta[1] or not meta[2] or not meta[3] then
    return nil
  end
  return { epoch = meta[1], seq = tonumber(meta[2]), tag = meta[3] }
end

local function as_text(seq)
  return string.format('%.0f', seq)
end

local function place_of(meta)
  if not meta then
    return { '', '0', '' }
  end
  return { meta.epoch, as_text(meta.seq), meta.tag }
end

-- A log without meta has lost its epoch, and with it the meaning of its numbers: it begins anew.
local function open_log(meta_key, log_key, epoch, tag)
  local meta = meta_of(meta_key)
  if not meta then
    redis.call('DEL', log_key)
    redis.call('HSET', meta_key, 'epoch', epoch, 'seq', '0', 'tag', tag)
    meta = { epoch = epoch, seq = 0, tag = tag }
  end
  return meta
end

-- KEYS meta log; ARGV epoch tag (fresh ones, used only if there is no log) -> epoch seq tag
local function open(keys, args)
  return place_of(open_log(keys[1], keys[2], args[1], args[2]))
end

-- KEYS meta -> epoch seq tag
local function head(keys)
  return place_of(meta_of(keys[1]))
end

-- KEYS meta events -> epoch seq tag {records}
local function state(keys)
  local answer = place_of(meta_of(keys[1]))
  answer[4] = redis.call('HVALS', keys[2])
  return answer
end

-- KEYS meta log; ARGV from to count -> epoch seq tag {stream entries}
local function range(keys, args)
  local answer = place_of(meta_of(keys[1]))
  answer[4] = redis.call('XRANGE', keys[2], args[1] .. '-0', args[2] .. '-0', 'COUNT', args[3])
  return answer
end

-- KEYS events req; ARGV event with_request -> record|nil {fingerprint token record}|nil
local function lookup(keys, args)
  local request = false
  if args[2] == '1' then
    local found = redis.call('HMGET', keys[2], 'fingerprint', 'token', 'record')
    request = found[1] and found
  end
  return { redis.call('HGET', keys[1], args[1]), request }
end

-- Two cuts that both must allow it: never below keep_entries, never what is younger than keep_ms.
local function trim(log_key, seq, keep_entries, keep_ms, now)
  local first = redis.call('XRANGE', log_key, '-', '+', 'COUNT', 1)[1]
  if not first then
    return
  end
  local cut = math.min(tonumber(string.match(first[1], '^%d+')) + TRIM_STEP, seq - keep_entries)
  local at = redis.call('XRANGE', log_key, as_text(math.max(cut, 0)) .. '-0', '+', 'COUNT', 1)[1]
  if not at or at[1] == first[1] then
    return
  end
  for i = 1, #at[2], 2 do
    if at[2][i] == 'body' then
      local good, body = pcall(cjson.decode, at[2][i + 1])
      if good and tonumber(body.sent) and body.sent < now - keep_ms then
        redis.call('XTRIM', log_key, 'MINID', at[1])
      end
    end
  end
end

local function may_write(keys, channel)
  local wanted = {
    { 'XADD', keys[1], '*', 'f', 'v' }, { 'XTRIM', keys[1], 'MINID', '0' },
    { 'XRANGE', keys[1], '-', '+' }, { 'DEL', keys[1] },
    { 'HSET', keys[2], 'f', 'v' }, { 'HSET', keys[3], 'f', 'v' }, { 'HSET', keys[4], 'f', 'v' },
    { 'EXPIRE', keys[4], '1' }, { 'HSET', keys[5], 'f', 'v' }, { 'DEL', keys[6] },
    { 'PUBLISH', channel, 'm' },
  }
  for _, command in ipairs(wanted) do
    if not redis.acl_check_cmd(unpack(command)) then
      return command[1] .. ' ' .. command[2]
    end
  end
  return nil
end

-- KEYS log meta events req bundles drafts
-- ARGV event expected record body tag channel publish fingerprint request_ttl_s events_max keep_entries
--      keep_ms now fresh_epoch fresh_tag
-- -> 'committed' token record | 'replayed' token record | 'mismatch' | 'stale' record|nil | 'full'
--  | 'nodrafts'
local function append(keys, args)
  local log_key, meta_key, events_key, req_key, bundles_key, drafts_key = unpack(keys)
  local event, expected, record, body, tag, channel, publish, fingerprint = unpack(args)

  if fingerprint ~= '' then
    local request = redis.call('HMGET', req_key, 'fingerprint', 'token', 'record')
    if request[1] then
      if request[1] ~= fingerprint then
        return { 'mismatch' }
      end
      return { 'replayed', request[2], request[3] }
    end
  end

  local current = redis.call('HGET', events_key, event)
  local version = current and cjson.decode(current).version or 0
  if version ~= tonumber(expected) then
    return { 'stale', current }
  end
  if not current and redis.call('HLEN', events_key) >= tonumber(args[10]) then
    return { 'full' }
  end

  local drafts = {}
  if publish == '1' then
    drafts = redis.call('HGETALL', drafts_key)
    if #drafts == 0 then
      return { 'nodrafts' }
    end
    redis.call('HLEN', bundles_key) -- of the right type, or we stop here
  end
  local refused = may_write(keys, channel)
  if refused then
    return redis.error_reply('NOPERM the Redis user may not do: ' .. refused)
  end

  -- From here on nothing may fail. XADD comes first: it refuses a number that is not new, so a log that
  -- is ahead of its meta stops us before anything has changed.
  local meta = open_log(meta_key, log_key, args[14], args[15])
  local seq = meta.seq + 1
  local token = meta.epoch .. '.' .. as_text(seq) .. '.' .. tag

  redis.call('XADD', log_key, as_text(seq) .. '-0', 'tag', tag, 'prev', meta.tag, 'body', body)
  redis.call('HSET', events_key, event, record)
  redis.call('HSET', meta_key, 'seq', as_text(seq), 'tag', tag)
  if fingerprint ~= '' then
    redis.call('HSET', req_key, 'fingerprint', fingerprint, 'token', token, 'record', record)
    redis.call('EXPIRE', req_key, args[9])
  end
  for i = 1, #drafts, 2 do
    redis.call('HSET', bundles_key, drafts[i], drafts[i + 1])
  end
  if publish == '1' then
    redis.call('DEL', drafts_key)
  end
  if seq % TRIM_EVERY == 0 then
    trim(log_key, seq, tonumber(args[11]), tonumber(args[12]), tonumber(args[13]))
  end
  redis.call('PUBLISH', channel, token .. ' ' .. meta.tag .. ' ' .. body)
  return { 'committed', token, record }
end

redis.register_function('kickoff1_open', open)
redis.register_function('kickoff1_append', append)
redis.register_function{ function_name = 'kickoff1_head', callback = head, flags = { 'no-writes' } }
redis.register_function{ function_name = 'kickoff1_state', callback = state, flags = { 'no-writes' } }
redis.register_function{ function_name = 'kickoff1_range', callback = range, flags = { 'no-writes' } }
redis.register_function{ function_name = 'kickoff1_lookup', callback = lookup, flags = { 'no-writes' } }

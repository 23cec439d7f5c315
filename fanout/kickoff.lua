#!lua name=kickoff1
-- fanout/kickoff.lua -- the only code that writes the signal log, as a library of Redis Functions: each
-- call runs alone, so it happens whole or not at all. It compares and counts; what may be done to an event
-- is decided in event.c. The 1 in the names is the major version: nodes of another major keep their own.
--
-- A script that fails half-way is not rolled back. So everything that can fail is looked at before the
-- first write: types and versions by reading, permissions by asking (out of memory, read-only and missing
-- replicas are refused by Redis before a writing function begins). No randomness in here: tags and epochs
-- come from the caller. Numbers are doubles: exact up to 2^53.
--
-- Words (fanout/EPOCHS.md has the reasons):
--   place      epoch, number, tag, parent: where the log ends for everybody
--   mark       with replicated:N the log may go on beyond what N replicas hold; entries beyond the mark are
--              held back from nodes and devices until they are released
--   witness    the place its caller holds. It was told to devices, so the log must have it: a log that has
--              not has lost its tail. And what was told was released, whatever the mark says
--   generation the first 16 bits of an epoch: higher is later

local TRIM_EVERY = 256 -- appends between two looks at the log's tail ...
local TRIM_STEP = 512  -- ... and how many entries one look may remove: faster than they come
local PIECE = 2000     -- texts in one command; Lua's stack holds some thousands

local function as_text(seq)
  return string.format('%.0f', seq)
end

local function id_of(seq)
  return as_text(seq) .. '-0'
end

local function generation(epoch)
  return tonumber(string.sub(epoch or '', 1, 4), 16) or 0
end

-- {seq, tag}: the last entry. {mark, mark_tag}: the last released one. nil: there is no log.
local function meta_of(key)
  local meta = redis.call('HMGET', key, 'epoch', 'seq', 'tag', 'parent', 'mark', 'mark_tag')
  if not meta[1] or not meta[2] or not meta[3] then
    return nil
  end
  local seq = tonumber(meta[2])
  return {
    epoch = meta[1], seq = seq, tag = meta[3], parent = meta[4] or '',
    mark = tonumber(meta[5]) or seq, mark_tag = meta[6] or meta[3],
  }
end

local function field_of(entry, name)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == name then
      return entry[2][i + 1]
    end
  end
  return nil
end

local function entry_at(log_key, seq)
  return redis.call('XRANGE', log_key, id_of(seq), id_of(seq))[1]
end

-- {epoch, seq, tag}, nil if the caller holds nothing.
local function witness_of(epoch, seq, tag)
  if not epoch or epoch == '' then
    return nil
  end
  return { epoch = epoch, seq = tonumber(seq), tag = tag }
end

-- Of one epoch: does the log still have the place the witness holds? What was trimmed cannot be
-- compared, and counts as kept.
local function has_lost(meta, log_key, witness)
  if witness.seq > meta.seq then
    return true
  end
  if witness.seq == meta.seq then
    return witness.tag ~= meta.tag
  end
  local entry = entry_at(log_key, witness.seq)
  if entry then
    return field_of(entry, 'tag') ~= witness.tag
  end
  local follower = entry_at(log_key, witness.seq + 1)
  return follower ~= nil and field_of(follower, 'prev') ~= witness.tag
end

-- Of one epoch: is the place in the log for certain? What was trimmed is not.
local function has_for_certain(meta, log_key, witness)
  if witness.seq == meta.seq then
    return witness.tag == meta.tag
  end
  local entry = entry_at(log_key, witness.seq)
  return entry ~= nil and field_of(entry, 'tag') == witness.tag
end

-- Where the log ends for everybody: at the mark, or later if the witness was told more.
local function place_of(meta, log_key, witness)
  if not meta then
    return { '', '0', '', '' }
  end
  local seq, tag = meta.mark, meta.mark_tag
  if witness and witness.epoch == meta.epoch and witness.seq > seq and
    not has_lost(meta, log_key, witness) then
    seq, tag = witness.seq, witness.tag
  end
  return { meta.epoch, as_text(seq), tag, meta.parent }
end

-- The entries that are held back, newest first.
local function held_entries(meta, log_key, place_seq)
  if not meta or meta.seq <= place_seq then
    return {}
  end
  return redis.call('XREVRANGE', log_key, '+', id_of(place_seq + 1))
end

-- The records as they were before these entries: event -> record, '' for none.
local function records_before(held)
  local record_of = {}
  for _, entry in ipairs(held) do -- the oldest has the last word
    local event = field_of(entry, 'event')
    if event then
      record_of[event] = field_of(entry, 'before') or ''
    end
  end
  return record_of
end

-- Which record is later? By the generation of the epoch it was made in, then by version. Equal: neither.
local function is_newer(record, than)
  if not than or than == '' then
    return true
  end
  local a, b = cjson.decode(record), cjson.decode(than)
  local ga, gb = generation(a.epoch), generation(b.epoch)
  return ga > gb or (ga == gb and a.version > b.version)
end

-- KEYS meta log; ARGV witness's epoch seq tag -> place
local function head(keys, args)
  return place_of(meta_of(keys[1]), keys[2], witness_of(unpack(args)))
end

-- KEYS meta log events; ARGV witness's epoch seq tag -> place, '1' if the log lost what the witness holds, {records}
local function state(keys, args)
  local meta_key, log_key, events_key = unpack(keys)
  local meta, witness = meta_of(meta_key), witness_of(unpack(args))
  local answer = place_of(meta, log_key, witness)
  local lost = meta and witness and witness.epoch == meta.epoch and has_lost(meta, log_key, witness)
  answer[5] = lost and '1' or '0'

  local held = held_entries(meta, log_key, tonumber(answer[2]))
  if #held == 0 then
    answer[6] = redis.call('HVALS', events_key)
    return answer
  end
  local pairs_of, record_of = redis.call('HGETALL', events_key), {}
  for i = 1, #pairs_of, 2 do
    record_of[pairs_of[i]] = pairs_of[i + 1]
  end
  for event, record in pairs(records_before(held)) do
    record_of[event] = record
  end
  answer[6] = {}
  for _, record in pairs(record_of) do
    if record ~= '' then
      table.insert(answer[6], record)
    end
  end
  return answer
end

-- One event's record, as everybody may see it.
-- KEYS meta log events; ARGV event, witness's epoch seq tag -> record|nil
local function event(keys, args)
  local meta = meta_of(keys[1])
  local place = place_of(meta, keys[2], witness_of(args[2], args[3], args[4]))
  local record = redis.call('HGET', keys[3], args[1])
  for _, entry in ipairs(held_entries(meta, keys[2], tonumber(place[2]))) do
    if field_of(entry, 'event') == args[1] then
      local before = field_of(entry, 'before')
      record = before ~= '' and before or false
    end
  end
  return record
end

-- KEYS meta log; ARGV from to count, witness's epoch seq tag -> place, {stream entries}
local function range(keys, args)
  local meta = meta_of(keys[1])
  local answer = place_of(meta, keys[2], witness_of(args[4], args[5], args[6]))
  local to = math.min(tonumber(args[2]), tonumber(answer[2]))
  answer[5] = {}
  if to >= tonumber(args[1]) then
    answer[5] = redis.call('XRANGE', keys[2], args[1] .. '-0', id_of(to), 'COUNT', args[3])
  end
  return answer
end

-- fingerprint token record, '1' while the change is held back, durability ('' = unknown); nil: no such key
local function request_of(req_key, meta)
  local found = redis.call('HMGET', req_key, 'fingerprint', 'token', 'record', 'durability')
  if not found[1] then
    return nil
  end
  local epoch, seq = string.match(found[2], '^(%x+)%.(%d+)%.')
  local held = meta and epoch == meta.epoch and tonumber(seq) > meta.mark
  return { found[1], found[2], found[3], held and '1' or '0', found[4] or '' }
end

-- KEYS events req meta [drafts]; ARGV event with_request
-- -> record|nil {fingerprint token record held durability}|nil [how many events, how many drafts of this one]
local function lookup(keys, args)
  local request = args[2] == '1' and request_of(keys[2], meta_of(keys[3])) or false
  local answer = { args[1] ~= '' and redis.call('HGET', keys[1], args[1]), request }
  if keys[4] then
    answer[3] = redis.call('HLEN', keys[1])
    answer[4] = redis.call('HLEN', keys[4])
  end
  return answer
end

-- Two cuts that both must allow it: never below keep_entries, never what is younger than keep_ms.
local function trim(log_key, seq, keep_entries, keep_ms, now)
  local first = redis.call('XRANGE', log_key, '-', '+', 'COUNT', 1)[1]
  if not first then
    return
  end
  local cut = math.min(tonumber(string.match(first[1], '^%d+')) + TRIM_STEP, seq - keep_entries)
  local at = redis.call('XRANGE', log_key, id_of(math.max(cut, 0)), '+', 'COUNT', 1)[1]
  if not at or at[1] == first[1] then
    return
  end
  -- Nothing may fail here any more, whatever stands in the entry.
  local good, body = pcall(cjson.decode, field_of(at, 'body') or '')
  local sent = good and type(body) == 'table' and tonumber(body.sent)
  if sent and sent < now - keep_ms then
    redis.call('XTRIM', log_key, 'MINID', at[1])
  end
end

-- What the user may not do, nil if all is well.
local function forbidden(wanted)
  for _, command in ipairs(wanted) do
    if not redis.acl_check_cmd(unpack(command)) then
      return redis.error_reply('NOPERM the Redis user may not do: ' .. command[1] .. ' ' .. command[2])
    end
  end
  return nil
end

local function may_append(keys, publish, channel)
  local wanted = {
    { 'XADD', keys[1], '*', 'f', 'v' }, { 'XTRIM', keys[1], 'MINID', '0' },
    { 'XRANGE', keys[1], '-', '+' },
    { 'HSET', keys[2], 'f', 'v' }, { 'HDEL', keys[2], 'f' }, { 'HSET', keys[3], 'f', 'v' },
    { 'HSET', keys[4], 'f', 'v' }, { 'EXPIRE', keys[4], '1' }, { 'HSET', keys[5], 'f', 'v' },
    { 'DEL', keys[6] }, { publish, channel, 'm' },
  }
  if keys[7] then
    table.insert(wanted, { 'XADD', keys[7], 'MAXLEN', '~', '1', '*', 'f', 'v' })
  end
  if keys[8] then
    table.insert(wanted, { 'HSET', keys[8], 'f', 'v' })
    table.insert(wanted, { 'HDEL', keys[8], 'f' })
  end
  return forbidden(wanted)
end

-- The hash of the body that a row names: "[<token> ]<sha256> <size> <content type>". nil: it is no row of ours.
local function body_of(row)
  return string.match(row, '^(%x+) %d') or string.match(row, '^%S+ (%x+) %d')
end

-- Drafts become current rows; each says which change made it so. Bodies that lose a row are noted, for others may
-- name them: prefetch/sweeper.c looks. Those that get one are nobody's to delete.
-- Many in one command, since Redis stands still meanwhile: one by one takes several times as long.
local function make_current(bundles_key, replaced_key, drafts, token, now)
  local named = {}
  for from = 1, #drafts, PIECE do
    local cohorts, rows, bodies, notes = {}, {}, {}, {}
    for i = from, math.min(from + PIECE - 1, #drafts), 2 do
      local n = #cohorts + 1
      cohorts[n], bodies[n] = drafts[i], body_of(drafts[i + 1]) or ''
      rows[2 * n - 1], rows[2 * n] = drafts[i], token .. ' ' .. drafts[i + 1]
    end
    local was = replaced_key and redis.call('HMGET', bundles_key, unpack(cohorts)) or {}
    for i = 1, #cohorts do
      local body = was[i] and body_of(was[i])
      if body and body ~= bodies[i] then
        notes[#notes + 1] = body
        notes[#notes + 1] = now
      end
    end
    if #notes > 0 then
      redis.call('HSET', replaced_key, unpack(notes))
    end
    redis.call('HSET', bundles_key, unpack(rows))
    table.insert(named, bodies)
  end
  if replaced_key and redis.call('HLEN', replaced_key) > 0 then -- after all notes: a body may have changed places
    for _, bodies in ipairs(named) do
      redis.call('HDEL', replaced_key, unpack(bodies))
    end
  end
end

local function message_of(epoch, seq, tag, prev, body, record)
  return epoch .. '.' .. as_text(seq) .. '.' .. tag .. ' ' .. prev .. ' ' .. body .. '\n' .. record
end

-- KEYS log meta events req bundles drafts [audit [replaced]]
-- ARGV event expected record body tag publish channel publishes fingerprint request_ttl_s events_max
--      keep_entries keep_ms now hold, witness's epoch seq tag, durability [kind who from asked audit_keep]
-- publish: PUBLISH, or SPUBLISH in a cluster. hold: how many replicas must have it before it is released;
-- 0 = it is released at once. durability: what the answer names, kept with the request key. audit: where it is
-- entered who changed what (fanout/audit.h).
-- -> 'committed' token record | 'held' token record | 'replayed' token record held durability | 'mismatch'
--  | 'stale' record|nil | 'full' | 'nodrafts' | 'moved' (the log is in another epoch than the witness, or
--    there is none) | 'lost' (the log has lost what the witness holds) | 'mixed' (others hold back, the caller does not)
local function append(keys, args)
  local log_key, meta_key, events_key, req_key, bundles_key, drafts_key = unpack(keys)
  local event, expected, record, body, tag, publish, channel, publishes, fingerprint = unpack(args)
  local meta, hold = meta_of(meta_key), tonumber(args[15])
  local witness = witness_of(args[16], args[17], args[18])

  local request = fingerprint ~= '' and request_of(req_key, meta)
  if request then
    if request[1] ~= fingerprint then
      return { 'mismatch' }
    end
    return { 'replayed', request[2], request[3], request[4], request[5] }
  end

  if not meta or not witness or meta.epoch ~= witness.epoch then
    return { 'moved' }
  end
  if has_lost(meta, log_key, witness) then
    return { 'lost' }
  end
  if hold == 0 and meta.mark < meta.seq then
    return { 'mixed' }
  end

  local current = redis.call('HGET', events_key, event)
  local version = current and cjson.decode(current).version or 0
  if version ~= tonumber(expected) then
    return { 'stale', current }
  end
  if not current and redis.call('HLEN', events_key) >= tonumber(args[11]) then
    return { 'full' }
  end

  local drafts = {}
  if publishes == '1' then
    drafts = redis.call('HGETALL', drafts_key)
    if #drafts == 0 then
      return { 'nodrafts' }
    end
    redis.call('HLEN', bundles_key) -- of the right type, or we stop here
    if keys[8] then
      redis.call('HLEN', keys[8])
    end
  end
  if keys[7] then
    redis.call('XRANGE', keys[7], '-', '+', 'COUNT', '1') -- likewise
  end
  local refused = may_append(keys, publish, channel)
  if refused then
    return refused
  end

  -- From here on nothing may fail. XADD comes first: it refuses a number that is not new, so a log that
  -- is ahead of its meta stops us before anything has changed.
  local seq = meta.seq + 1
  local token = meta.epoch .. '.' .. as_text(seq) .. '.' .. tag
  local fields = { 'tag', tag, 'prev', meta.tag, 'body', body, 'record', record }
  if hold > 0 then -- what is needed to take it back
    for _, more in ipairs{ 'event', event, 'before', current or '', 'req', fingerprint ~= '' and req_key or '' } do
      table.insert(fields, more)
    end
  end

  redis.call('XADD', log_key, id_of(seq), unpack(fields))
  redis.call('HSET', events_key, event, record)
  if hold > 0 then
    redis.call('HSET', meta_key, 'seq', as_text(seq), 'tag', tag, 'mark', as_text(meta.mark), 'mark_tag',
      meta.mark_tag)
  else
    redis.call('HSET', meta_key, 'seq', as_text(seq), 'tag', tag)
    redis.call('HDEL', meta_key, 'mark', 'mark_tag')
  end
  if fingerprint ~= '' then
    redis.call('HSET', req_key, 'fingerprint', fingerprint, 'token', token, 'record', record,
      'durability', args[19] or '')
    redis.call('EXPIRE', req_key, args[10])
  end
  if keys[7] then
    redis.call('XADD', keys[7], 'MAXLEN', '~', args[24], '*', 'at', args[14], 'who', args[21], 'kind', args[20],
      'event', event, 'from', args[22], 'body', args[23], 'seq', as_text(seq), 'token', token,
      'version', as_text(version + 1))
  end
  if publishes == '1' then
    make_current(bundles_key, keys[8], drafts, token, args[14])
    redis.call('DEL', drafts_key)
  end
  if seq % TRIM_EVERY == 0 then
    -- What is held back must stay.
    trim(log_key, hold > 0 and meta.mark or seq, tonumber(args[12]), tonumber(args[13]), tonumber(args[14]))
  end
  if hold > 0 then
    return { 'held', token, record }
  end
  redis.call(publish, channel, message_of(meta.epoch, seq, tag, meta.tag, body, record))
  return { 'committed', token, record }
end

-- The caller knows that enough replicas hold the entry, and so all before it: let everybody have them.
-- KEYS meta log; ARGV epoch seq tag publish channel -> 'released' | 'lost'
local function release(keys, args)
  local meta_key, log_key = unpack(keys)
  local epoch, seq, tag, publish, channel = unpack(args)
  local meta, witness = meta_of(meta_key), witness_of(epoch, seq, tag)

  if not meta or meta.epoch ~= epoch or not has_for_certain(meta, log_key, witness) then
    return { 'lost' }
  end
  if witness.seq <= meta.mark then
    return { 'released' }
  end
  local refused = forbidden{ { 'HSET', meta_key, 'f', 'v' }, { publish, channel, 'm' } }
  if refused then
    return refused
  end
  local messages = {}
  for _, entry in ipairs(redis.call('XRANGE', log_key, id_of(meta.mark + 1), id_of(witness.seq))) do
    table.insert(messages, message_of(epoch, tonumber(string.match(entry[1], '^%d+')),
      field_of(entry, 'tag') or '', field_of(entry, 'prev') or '', field_of(entry, 'body') or '',
      field_of(entry, 'record') or ''))
  end
  redis.call('HSET', meta_key, 'mark', seq, 'mark_tag', tag)
  for _, message in ipairs(messages) do
    redis.call(publish, channel, message)
  end
  return { 'released' }
end

-- What is held back beyond the mark -> epoch seq tag of the last entry, '1' if any is.
-- KEYS meta
local function tail(keys)
  local meta = meta_of(keys[1])
  if not meta then
    return { '', '0', '', '0' }
  end
  return { meta.epoch, as_text(meta.seq), meta.tag, meta.mark < meta.seq and '1' or '0' }
end

-- The log goes on in a new epoch, if there is none, or if the caller proves that it lost something: a
-- place, an epoch at least as late, or newer records. Compare-and-set on the epoch: of many callers one wins.
-- KEYS meta log events
-- ARGV expected_epoch ('' = no log) fresh_epoch (its generation may be raised) fresh_tag, witness's epoch seq tag, event record event record ...
-- -> 'renewed' | 'intact' (nothing was lost) | 'changed' (the epoch is not the expected one)
--  | 'held' (something is held back: once that is released), then the place
local function renew(keys, args)
  local meta_key, log_key, events_key = unpack(keys)
  local expected, fresh, fresh_tag = args[1], args[2], args[3] -- unpack has a limit of 8,000
  local meta, witness = meta_of(meta_key), witness_of(args[4], args[5], args[6])
  local newer = {}

  local function answer(word)
    local place = place_of(meta_of(meta_key), log_key, witness)
    return { word, place[1], place[2], place[3], place[4] }
  end

  if (meta and meta.epoch or '') ~= expected then
    return answer('changed')
  end
  local held = held_entries(meta, log_key, tonumber(place_of(meta, log_key, witness)[2]))
  local record_of = records_before(held)
  for i = 7, #args, 2 do
    if is_newer(args[i + 1], record_of[args[i]] or redis.call('HGET', events_key, args[i])) then
      table.insert(newer, args[i])
      table.insert(newer, args[i + 1])
    end
  end
  if meta and witness and meta.epoch == witness.epoch then
    -- A later record of ours proves a loss, too, if the place itself has been trimmed since.
    if #newer == 0 and not has_lost(meta, log_key, witness) then
      return answer('intact')
    end
  elseif meta and #newer == 0 and (not witness or generation(meta.epoch) > generation(witness.epoch)) then
    return answer('intact')
  end
  -- A failover may lose the mark alone: what looks held back may have been acknowledged. First it is released.
  if #held > 0 then
    return answer('held')
  end
  -- Later than all that is known, here too: records may remember epochs that a lost `meta` does not.
  local last = math.max(generation(fresh) - 1, generation(meta and meta.epoch), generation(witness and witness.epoch))
  for _, record in ipairs(redis.call('HVALS', events_key)) do
    last = math.max(last, generation(cjson.decode(record).epoch))
  end
  for i = 2, #newer, 2 do -- a node may remember more than the place it holds
    last = math.max(last, generation(cjson.decode(newer[i]).epoch))
  end
  if last >= 0xffff then
    return redis.error_reply('ERR there is no later generation for a new epoch')
  end
  fresh = string.format('%04x', last + 1) .. string.sub(fresh, 5)
  local refused = forbidden{
    { 'DEL', log_key }, { 'DEL', meta_key }, { 'HSET', meta_key, 'f', 'v' }, { 'HSET', events_key, 'f', 'v' },
  }
  if refused then
    return refused
  end

  local parent = ''
  if meta then
    local continues = witness and generation(witness.epoch) >= generation(meta.epoch)
    parent = continues and witness.epoch or meta.epoch
  end
  redis.call('DEL', log_key)
  redis.call('DEL', meta_key)
  redis.call('HSET', meta_key, 'epoch', fresh, 'seq', '0', 'tag', fresh_tag, 'parent', parent)
  for i = 1, #newer, 2 do
    redis.call('HSET', events_key, newer[i], newer[i + 1])
  end
  return answer('renewed')
end

-- --- bodies that nothing names (prefetch/sweeper.h) -------------------------------------------------------

-- The caller has looked at all rows. What was noted since, or is noted no more, is left alone: somebody named it.
-- KEYS replaced body ...; ARGV before, then of each body: sha256 named ('1': only the note goes)
-- -> how many were deleted
local function sweep(keys, args)
  local deleted = 0
  for i = 2, #keys do
    local body, named = args[2 * i - 2], args[2 * i - 1]
    local since = tonumber(redis.call('HGET', keys[1], body))
    if since and since <= tonumber(args[1]) then
      redis.call('HDEL', keys[1], body)
      if named ~= '1' then
        deleted = deleted + redis.call('DEL', keys[i])
      end
    end
  end
  return deleted
end

-- --- one device (fanout/registry.h): a record each, which is a hint and no part of the log ----------------

-- Redis' own clock, in ms: nodes say how long ago, so theirs need not agree.
local function clock_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- These sessions are at the caller's node. Of two sessions of a device the one that came later stays, or the
-- greater one; another node's loser is told by a message to its channel. Both nodes ask before they believe it.
-- KEYS device ...; ARGV node keep_s publish channel_prefix, then of each device: session age_ms id
-- -> {row (from 0) node session}... of those where the record is of a later one, and stays
local function arrive(keys, args)
  local node, keep_s, publish, prefix = args[1], args[2], args[3], args[4]
  local now, answer = clock_ms(), {}
  for i, key in ipairs(keys) do
    local session, came, id = args[3 * i + 2], now - tonumber(args[3 * i + 3]), args[3 * i + 4]
    local was = redis.call('HMGET', key, 'n', 's', 't', 'g')
    local there = was[1] and was[2] and was[3] and not was[4]
    local since = there and tonumber(was[3]) or 0
    if there and was[1] == node and was[2] == session then
      redis.call('EXPIRE', key, keep_s)
    elseif there and (since > came or (since == came and was[2] > session)) then
      table.insert(answer, { as_text(i - 1), was[1], was[2] })
    else
      redis.call('HSET', key, 'n', node, 's', session, 't', as_text(came))
      if was[4] then
        redis.call('HDEL', key, 'g')
      end
      redis.call('EXPIRE', key, keep_s)
      if there and was[1] ~= node then
        redis.call(publish, prefix .. was[1],
          '{"k":"claimed","device":"' .. id .. '","session":"' .. was[2] .. '","rival":"' .. session .. '"}')
      end
    end
  end
  return answer
end

-- These sessions are at this node no more.
-- KEYS device ...; ARGV node unseen ('1': went when it came, for nobody knows better), then of each device: session
local function leave(keys, args)
  local now = clock_ms()
  for i, key in ipairs(keys) do
    local was = redis.call('HMGET', key, 'n', 's', 't', 'g')
    if was[1] == args[1] and was[2] == args[i + 2] and not was[4] then
      redis.call('HSET', key, 'g', args[2] == '1' and was[3] or as_text(now))
    end
  end
  return redis.status_reply('OK')
end

local function reads(name, callback)
  redis.register_function{ function_name = name, callback = callback, flags = { 'no-writes' } }
end

redis.register_function('kickoff1_append', append)
redis.register_function('kickoff1_release', release)
redis.register_function('kickoff1_renew', renew)
redis.register_function('kickoff1_sweep', sweep)
redis.register_function('kickoff1_arrive', arrive)
redis.register_function('kickoff1_leave', leave)
reads('kickoff1_head', head)
reads('kickoff1_state', state)
reads('kickoff1_event', event)
reads('kickoff1_range', range)
reads('kickoff1_lookup', lookup)
reads('kickoff1_tail', tail)

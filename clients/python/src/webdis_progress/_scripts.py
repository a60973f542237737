"""What runs within Redis: number, state, copy for replay and publication in one atomic step."""

from __future__ import annotations

MAX_MESSAGES = 10_000  # kept for replay; a few more until the next trimming
MAX_CHANNEL_BYTES = 8 * 1024 * 1024  # of them
# When Redis's memory is three quarters full, a channel keeps no more than this: it pays for
# its messages with its own earlier ones, and small channels keep theirs.
MAX_CHANNEL_BYTES_WHEN_TIGHT = 256 * 1024
TIGHT = 0.75
EXPIRY_SECONDS = 24 * 3600
# Of the last states of tasks, and of the writers' counts, the half that was heard longest ago
# is forgotten when there are more. No retry is that late.
MAX_TASKS = 2000
MAX_WRITERS = 2000
# More than can be published between two syncs of the append-only file.
LOST_MESSAGES = 1_000_000
TRIM_BYTES = 64 * 1024  # so many bytes from one trimming to the next

# KEYS: state, events. ARGV: the seven below, then three for each message: its bar, the rest of
# its JSON, and that JSON shortened for the state (empty: it is short). Answers the number
# of the last message, and 1 if a cancel is requested.
#
# The state has, for each writer, how many of its messages were taken and the number of the
# last one. Messages that come a second time, because the answer was lost, are known by that:
# they are answered as they were and published no more. And if a writer was told of more
# messages than are known here, Redis has lost them, and perhaps those of other writers: then
# the number jumps ahead.
PUBLISH = f"""
local state_key, events_key = KEYS[1], KEYS[2]
local channel, writer, count, confirmed, renew, ending = unpack(ARGV, 1, 6)
local FIRST = 7
local last = count + (#ARGV - FIRST + 1) / 3 - 1

local found = redis.call('HMGET', state_key, 'state', writer, 'cancel')
local cancel = found[3] and 1 or 0
local taken = 0
if found[2] then
    local known, number = string.match(found[2], '(%d+) (%d+)')
    taken = tonumber(known)
    if taken >= last then return {{tonumber(number), cancel}} end
end
local seq, bytes, epoch, ended = 0, 0, nil, ''
if found[1] then
    seq, bytes, epoch, ended = string.match(found[1], '(%d+) (%d+) (%S+) (%l*)')
    if ended ~= '' then return redis.error_reply('ENDED ' .. ended) end
    if taken < tonumber(confirmed) then seq = seq + {LOST_MESSAGES} end
else
    epoch = writer .. '-' .. count
end
local bytes_before = bytes

local head = ', "epoch": "' .. epoch .. '", '
local changes, messages = {{'state', '', writer, ''}}, {{}}
for i = FIRST + 3 * math.max(0, taken - count + 1), #ARGV, 3 do
    seq = seq + 1
    local start = '{{"seq": ' .. seq .. head
    local message = start .. ARGV[i + 1]
    bytes = bytes + #message
    changes[#changes + 1] = ARGV[i]
    changes[#changes + 1] = ARGV[i + 2] == '' and message or start .. ARGV[i + 2]
    messages[#messages + 1] = seq .. '-' .. bytes
    messages[#messages + 1] = message
end
changes[2] = seq .. ' ' .. bytes .. ' ' .. epoch .. ' ' .. ending
changes[4] = last .. ' ' .. seq
-- First, as it is this that Redis refuses when its memory is full: then nothing is half done.
local added = redis.call('HSET', state_key, unpack(changes))
if not found[1] then redis.call('DEL', events_key) end
for i = 1, #messages, 2 do
    redis.call('XADD', events_key, messages[i], 'message', messages[i + 1])
    redis.call('PUBLISH', channel, messages[i + 1])
end

if renew == '1' or not found[1] then
    redis.call('EXPIRE', state_key, {EXPIRY_SECONDS})
    redis.call('EXPIRE', events_key, {EXPIRY_SECONDS})
end

if math.floor(bytes / {TRIM_BYTES}) > math.floor(bytes_before / {TRIM_BYTES}) then
    redis.call('XTRIM', events_key, 'MAXLEN', '~', {MAX_MESSAGES})
    local most = {MAX_CHANNEL_BYTES}
    -- A user who may not ask has the first bound only.
    local memory = redis.pcall('INFO', 'memory')
    local limit = type(memory) == 'string' and tonumber(string.match(memory, 'maxmemory:(%d+)'))
    if limit and limit > 0 then
        local used = tonumber(string.match(memory, 'used_memory:(%d+)'))
        if used > limit * {TIGHT} then most = {MAX_CHANNEL_BYTES_WHEN_TIGHT} end
    end
    local function entry_from(number)
        local id = redis.call('XRANGE', events_key, number, '+', 'COUNT', 1)[1][1]
        local of, at = string.match(id, '(%d+)-(%d+)')
        return tonumber(of), tonumber(at)
    end
    local low, high = entry_from('-'), tonumber(seq)
    -- The first entry that the bytes after it, and its own, are within the bound.
    while low < high do
        local middle = math.floor((low + high) / 2)
        local of, at = entry_from(middle)
        if at <= bytes - most then low = of + 1 else high = middle end
    end
    redis.call('XTRIM', events_key, 'MINID', low)
end

if added > 0 and redis.call('HLEN', state_key) > {MAX_TASKS + MAX_WRITERS} then
    local all, kinds = redis.call('HGETALL', state_key), {{task = {{}}, writer = {{}}}}
    for i = 1, #all, 2 do
        local kind = string.sub(all[i], 1, 5) == 'task:' and 'task' or 'writer'
        local number = string.match(all[i + 1], '^%d+ (%d+)$')
            or string.match(all[i + 1], '^{{"seq": (%d+)')
        if number and all[i] ~= 'run' then
            table.insert(kinds[kind], {{tonumber(number), all[i]}})
        end
    end
    for kind, most in pairs({{task = {MAX_TASKS}, writer = {MAX_WRITERS}}}) do
        local oldest = kinds[kind]
        if #oldest > most then
            table.sort(oldest, function(a, b) return a[1] < b[1] end)
            for i = 1, #oldest / 2 do redis.call('HDEL', state_key, oldest[i][2]) end
        end
    end
end
return {{tonumber(seq), cancel}}
"""

REQUEST_CANCEL = f"""
local state = redis.call('HGET', KEYS[1], 'state')
if state and string.match(state, '%l$') then return 0 end
redis.call('HSET', KEYS[1], 'cancel', 1)
redis.call('EXPIRE', KEYS[1], {EXPIRY_SECONDS})
return 1
"""

# KEYS: state, events. ARGV: the last number that the reader has (empty: it joins), its epoch,
# how many events at most, how many for one that joins. Answers epoch, number, whether a
# cancel is requested, events, and the whole hash where the reader needs the state.
REPLAY = """
local after, known, most, tail = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local found = redis.call('HMGET', KEYS[1], 'state', 'cancel')
local seq, epoch = 0, ''
if found[1] then
    seq, epoch = string.match(found[1], '(%d+) %d+ (%S+)')
    seq = tonumber(seq)
end
local events, whole = {}, true
if not after then
    local latest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', tail)
    for i = #latest, 1, -1 do events[#events + 1] = latest[i] end
elseif (known ~= '' and known ~= epoch) or after > seq then
    events = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', most)
elseif after == seq then
    whole = false
else
    events = redis.call('XRANGE', KEYS[2], string.format('%d', after + 1), '+', 'COUNT', most)
    local first = events[1] and tonumber(string.match(events[1][1], '%d+'))
    whole = first ~= after + 1
end
return {epoch, seq, found[2] and 1 or 0, events, whole and redis.call('HGETALL', KEYS[1]) or {}}
"""

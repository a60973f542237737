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

# KEYS: state, events. ARGV: channel, writer, how many messages that writer has made with these,
# more (empty, or: how many of them before these are confirmed, 1 to renew the expiry, 1 if the
# writer sends again what is not known here, the kind that ends the stream), then three for each
# message: its bar, the rest of its JSON, and that JSON shortened for the state (empty: it is
# short). Answers the number of the last message, and 1 if a cancel is requested.
#
# The state has, for each writer, how many of its messages were taken and the number of the
# last one: of the last writer with the position, of the others in a field each. Messages that
# come a second time, because the answer was lost, are known by that: they are answered as they
# were and published no more. And if a writer was told of more messages than are known here,
# Redis has lost them, and perhaps those of other writers: then the number jumps ahead. A writer
# that sends again is told so, BEHIND; for it the number jumps ahead whenever there is
# another primary, which may lack what pages have had from the old one.
#
# What costs most here is commands, then arguments, then numbers that become text: two commands
# read and write the state, and %d does in a third of the time what .. does.
PUBLISH = f"""
local state_key, events_key = KEYS[1], KEYS[2]
local channel, writer, count, more = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local FIRST = 5
local messages = (#ARGV - FIRST + 1) / 3
local confirmed, renew, replicated, ending = count - messages, '', '', ''
if more ~= '' then
    confirmed, renew, replicated, ending = string.match(more, '(%d+) (%d) (%d) (%l*)')
    confirmed = tonumber(confirmed)
end

local primary = replicated == '1'
    and string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local found = redis.call('HMGET', state_key, 'state', 'cancel')
local cancel = found[2] and 1 or 0
local changes = {{'state', ''}}
local seq, bytes, epoch, last_writer, taken, ended =
    string.match(found[1] or '', '^(%d+)-(%d+) (%S+) (%S+) (%d+) (%l*)$')
local is_new = not seq -- or of a version that wrote its state in another way: begun anew
if is_new then
    seq, bytes, taken = 0, 0, 0
    epoch = writer .. '-' .. count
    if primary then
        epoch = epoch .. '-' .. string.sub(primary, 1, 8)
        changes[3], changes[4] = 'primary', primary
    end
else
    seq, taken = tonumber(seq), tonumber(taken)
    local answer = seq
    if last_writer ~= writer then
        changes[3], changes[4] = last_writer, string.format('%d %d', taken, seq)
        taken = 0
        local own = redis.call('HGET', state_key, writer)
        if own then
            taken, answer = string.match(own, '(%d+) (%d+)')
            taken, answer = tonumber(taken), tonumber(answer)
        end
    end
    if taken >= tonumber(count) then
        -- A write, or WAIT would have nothing to wait for.
        redis.call('EXPIRE', state_key, {EXPIRY_SECONDS})
        return {{answer, cancel}}
    end
    if ended ~= '' then return redis.error_reply('ENDED ' .. ended) end
    local before = primary and redis.call('HGET', state_key, 'primary')
    if before ~= primary then
        changes[#changes + 1], changes[#changes + 2] = 'primary', primary
    end
    if taken < confirmed or (before and before ~= primary) then seq = seq + {LOST_MESSAGES} end
end
if primary and taken < confirmed then return redis.error_reply('BEHIND ' .. taken) end
local bytes_before = bytes

local added, id = {{}}, nil
for i = FIRST + 3 * math.max(0, messages - (count - taken)), #ARGV, 3 do
    seq = seq + 1
    local start = string.format('{{"seq": %d, "epoch": "%s", ', seq, epoch)
    local message = start .. ARGV[i + 1]
    bytes = bytes + #message
    id = string.format('%d-%d', seq, bytes)
    changes[#changes + 1] = ARGV[i]
    changes[#changes + 1] = ARGV[i + 2] == '' and message or start .. ARGV[i + 2]
    added[#added + 1] = id
    added[#added + 1] = message
end
changes[2] = id .. ' ' .. epoch .. ' ' .. writer .. ' ' .. count .. ' ' .. ending
-- First, as it is this that Redis refuses when its memory is full: then nothing is half done.
local fields = redis.call('HSET', state_key, unpack(changes))
if is_new then redis.call('DEL', events_key) end
for i = 1, #added, 2 do
    redis.call('XADD', events_key, added[i], 'message', added[i + 1])
    redis.call('PUBLISH', channel, added[i + 1])
end

if renew == '1' or is_new then
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
    local low, high = entry_from('-'), seq
    -- The first entry that the bytes after it, and its own, are within the bound.
    while low < high do
        local middle = math.floor((low + high) / 2)
        local of, at = entry_from(middle)
        if at <= bytes - most then low = of + 1 else high = middle end
    end
    redis.call('XTRIM', events_key, 'MINID', low)
end

if fields > 0 and redis.call('HLEN', state_key) > {MAX_TASKS + MAX_WRITERS} then
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
return {{seq, cancel}}
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
    seq, epoch = string.match(found[1], '(%d+)-%d+ (%S+)')
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

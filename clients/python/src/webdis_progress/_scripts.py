"""What runs within Redis: number, state, copy for replay and publication in one atomic step."""

from __future__ import annotations

from webdis_progress._limits import (
    EXPIRY_SECONDS,
    LOST_MESSAGES,
    MAX_CHANNEL_BYTES,
    MAX_CHANNEL_BYTES_WHEN_TIGHT,
    MAX_MESSAGES,
    MAX_TASKS,
    MAX_WRITERS,
    TIGHT,
    TRIM_BYTES,
)

# KEYS: state, events. ARGV: channel, the state that the writer expects, the one that follows it,
# two digits (1: it is time to renew the expiry and to trim; 1: the writer sends again what is not
# known here), then three for each message: its bar (empty: a later one is of the same), its entry
# in the stream (empty: this is not published, but kept as the bar's state), its JSON. Answers with
# a pair: the state after the last message, and 1 if a cancel is requested. Where all was as
# expected, which is the rule, it answers with 1: a pair takes the writer 2 us more to read.
#
# The state is one line: the last entry, the epoch, who wrote last, how many messages of that
# writer were taken, and the kind that has ended the stream. As a rule a writer finds the line
# that it has left: then what it sends is right to the byte, and nothing is put together here.
# Else all is numbered again. Of the other writers a field each has how many messages were taken
# and the number of the last one. Messages that come a second time, because the answer was lost,
# are known by that: they are answered as they were and published no more. And if a writer was
# told of more messages than are known here, Redis has lost them, and perhaps those of other
# writers: then the number jumps ahead. A writer that sends again is told so, BEHIND, and expects
# no state: for it the number jumps ahead whenever there is another primary, which may lack what
# pages have had from the old one.
PUBLISH = f"""
local state_key, events_key = KEYS[1], KEYS[2]
local channel, expected, state, flags = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local entries, first, changes, answer, is_new = ARGV, 5, nil, 1, false
local due = flags == '10' or flags == '11'

local found = redis.call('HGET', state_key, 'state')
if found ~= expected then
    local confirmed = tonumber(string.match(expected, '^%S+ %S+ %S+ (%d+)'))
    local writer, count, ending = string.match(state, '^%S+ %S+ (%S+) (%d+) (%l*)$')
    local asked = redis.call('HMGET', state_key, 'cancel', writer)
    local cancel, own = asked[1] and 1 or 0, asked[2]
    local seq, bytes, epoch, last_writer, taken, ended =
        string.match(found or '', '^(%d+)-(%d+) (%S+) (%S+) (%d+) (%l*)$')
    local primary = (flags == '01' or flags == '11')
        and string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
    changes = {{'state', ''}}
    is_new = not seq -- or of a version that wrote its state in another way: begun again
    if is_new then
        seq, bytes, taken = 0, 0, 0
        epoch = writer .. '-' .. count
        if primary then
            epoch = epoch .. '-' .. string.sub(primary, 1, 8)
            changes[3], changes[4] = 'primary', primary
        end
    else
        seq, bytes, taken = tonumber(seq), tonumber(bytes), tonumber(taken)
        local last = seq
        if last_writer ~= writer then
            changes[3], changes[4] = last_writer, string.format('%d %d', taken, seq)
            taken = 0
            if own then
                taken, last = string.match(own, '(%d+) (%d+)')
                taken, last = tonumber(taken), tonumber(last)
            end
        end
        if taken >= tonumber(count) then
            -- A write, or WAIT would have nothing to wait for.
            redis.call('EXPIRE', state_key, {EXPIRY_SECONDS})
            return {{string.format('%d-%d %s %s %d ', last, bytes, epoch, writer, taken), cancel}}
        end
        if ended ~= '' then return redis.error_reply('ENDED ' .. ended) end
        local before = primary and redis.call('HGET', state_key, 'primary')
        if before ~= primary then
            changes[#changes + 1], changes[#changes + 2] = 'primary', primary
        end
        if taken < confirmed or (before and before ~= primary) then seq = seq + {LOST_MESSAGES} end
    end
    if primary and taken < confirmed then return redis.error_reply('BEHIND ' .. taken) end
    entries, first = {{}}, 1
    local bytes_before, start, id = bytes, nil, nil
    for i = 5, #ARGV, 3 do
        local bar, entry, text = ARGV[i], ARGV[i + 1], ARGV[i + 2]
        if entry ~= '' then
            seq = seq + 1
            start = string.format('{{"seq": %d, "epoch": "%s", ', seq, epoch)
        end
        text = start .. string.sub(text, string.find(text, '", ', 1, true) + 3)
        if entry ~= '' then
            bytes = bytes + #text
            id = string.format('%d-%d', seq, bytes)
            entry = id
        end
        entries[i - 4], entries[i - 3], entries[i - 2] = bar, entry, text
    end
    due = due or math.floor(bytes / {TRIM_BYTES}) > math.floor(bytes_before / {TRIM_BYTES})
    state = id .. ' ' .. epoch .. ' ' .. writer .. ' ' .. count .. ' ' .. ending
    changes[2] = state
    answer = {{state, cancel}}
end

-- The state first, as it is this that Redis refuses when its memory is full: then nothing is
-- half done.
local fields
if #entries == first + 2 and not changes then
    fields = redis.call('HSET', state_key, 'state', state, entries[first], entries[first + 2])
else
    changes = changes or {{'state', state}}
    for i = first, #entries, 3 do
        local bar, text = entries[i], entries[i + 2]
        if bar ~= '' then changes[#changes + 1], changes[#changes + 2] = bar, text end
    end
    fields = redis.call('HSET', state_key, unpack(changes))
end
if is_new then redis.call('DEL', events_key) end
for i = first, #entries, 3 do
    local entry, text = entries[i + 1], entries[i + 2]
    if entry ~= '' then
        redis.call('XADD', events_key, entry, 'message', text)
        redis.call('PUBLISH', channel, text)
    end
end

if due or is_new then
    redis.call('EXPIRE', state_key, {EXPIRY_SECONDS})
    redis.call('EXPIRE', events_key, {EXPIRY_SECONDS})
end
if due then
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
    local newest, bytes = string.match(state, '^(%d+)-(%d+)')
    local low, high = entry_from('-'), tonumber(newest)
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
return answer
"""

REQUEST_CANCEL = f"""
local state = redis.call('HGET', KEYS[1], 'state')
if state and string.match(state, '%l$') then return 0 end
redis.call('HSET', KEYS[1], 'cancel', 1)
if state then
    -- Counted as a byte: no writer finds the state that it expects, and so each learns of it.
    local seq, bytes, rest = string.match(state, '^(%d+)-(%d+)(.*)$')
    state = seq and string.format('%d-%d%s', seq, bytes + 1, rest) or state
    redis.call('HSET', KEYS[1], 'state', state)
end
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

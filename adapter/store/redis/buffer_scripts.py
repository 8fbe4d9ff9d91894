"""The rollout buffer's changes of more than one Redis key: each is made whole or not at all.

An entry has the fields g (the packed group), i (its id), c (its client's pseudonym), h (its
holder's) and v (its policy version) or, for a replay, r; older entries have
no h or v. The outcomes counted are those of adapter.store.buffer.
"""

# Stands before the scripts after APPEND. Age is by entry ids, hence by this server's clock.
PRELUDE = """
local function fields(entry)
  local found = {}
  for i = 1, #entry[2], 2 do found[entry[2][i]] = entry[2][i + 1] end
  return found
end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

APPEND = """
if redis.call('SISMEMBER', KEYS[5], ARGV[5]) == 1 then return 'opted_out' end
if redis.call('SISMEMBER', KEYS[5], ARGV[8]) == 1 then return 'opted_out' end
if redis.call('EXISTS', KEYS[4]) == 1 then return 'duplicate' end
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) or held + #ARGV[1] > tonumber(ARGV[3]) then
  return 'buffer_full'
end
redis.call('SET', KEYS[4], '1', 'EX', ARGV[4])
redis.call(
  'XADD', KEYS[1], '*', 'g', ARGV[1], 'c', ARGV[5], 'i', ARGV[6], 'v', ARGV[7], 'h', ARGV[8]
)
redis.call('INCRBY', KEYS[2], #ARGV[1])
redis.call('HINCRBY', KEYS[3], 'accepted', 1)
return 'recorded'
"""

# Entries that no consumer has read: replays, then the newest first; they count as read from now on.
# If there are none, the group's next ordinary read gets what arrives after this. A replay's id may
# still be listed when it has been read or removed.
NEWEST = """
local held, group = {}, ARGV[1]
local pending = redis.pcall('XPENDING', KEYS[1], group)
if pending.err then return pending end
if pending[1] >= redis.call('XLEN', KEYS[1]) then
  redis.call('XGROUP', 'SETID', KEYS[1], group, '$')
  return {}
end
if pending[1] > 0 then
  for _, one in ipairs(redis.call('XPENDING', KEYS[1], group, '-', '+', pending[1])) do
    held[one[1]] = true
  end
end
local found, before = {}, '+'
local function take(entry)
  if not entry or held[entry[1]] then return end
  redis.call('XCLAIM', KEYS[1], group, group, 0, entry[1], 'RETRYCOUNT', 1, 'FORCE', 'JUSTID')
  held[entry[1]] = true
  found[#found + 1] = entry
end
while #found < tonumber(ARGV[2]) do
  local replay = redis.call('LPOP', KEYS[2])
  if not replay then break end
  take(redis.call('XRANGE', KEYS[1], replay, replay)[1])
end
while #found < tonumber(ARGV[2]) do
  local entry = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', 1)[1]
  if not entry then break end
  take(entry)
  before = '(' .. entry[1]
end
return found
"""

# One chunk of the stream, of which the versions after ARGV[4] are kept. Returns entries dropped,
# and the last id seen ('' where the first kept one is, or at the end).
DROP = """
local keep, gone = {}, 0
for i = 5, #ARGV do keep[ARGV[i]] = true end
local found = redis.call('XRANGE', KEYS[1], ARGV[3], '+', 'COUNT', ARGV[4])
for _, entry in ipairs(found) do
  local f = fields(entry)
  if keep[f.v] then return {gone, ''} end
  if f.v and #redis.pcall('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1) == 0 then
    redis.call('XDEL', KEYS[1], entry[1])
    redis.call('DECRBY', KEYS[2], #f.g)
    redis.call('HINCRBY', KEYS[3], ARGV[2], 1)
    gone = gone + 1
  end
end
return {gone, #found == tonumber(ARGV[4]) and found[#found][1] or ''}
"""

# A group kept after training displaces the oldest ones kept if there are too many bytes of them.
SETTLE = """
local limit = tonumber(ARGV[3])
for i = 4, #ARGV, 2 do
  local entry = limit > 0 and redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    redis.call('DECRBY', KEYS[2], ARGV[i + 1])
    redis.call('HINCRBY', KEYS[3], ARGV[2], 1)
    local f = entry and fields(entry)
    if f and f.i then
      redis.call('XADD', KEYS[4], '*', 'g', f.g, 'c', f.c, 'i', f.i, 'h', f.h or '')
      local held = redis.call('INCRBY', KEYS[5], #f.g)
      while held > limit do
        local oldest = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)[1]
        redis.call('XDEL', KEYS[4], oldest[1])
        held = redis.call('DECRBY', KEYS[5], #fields(oldest).g)
      end
    end
  end
end
"""

# A group that is gone by now, because its client was forgotten, leaves no letter.
DEAD = """
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if not entry then return 0 end
local letter = entry[2]
letter[#letter + 1] = 'reason'
letter[#letter + 1] = ARGV[3]
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], '*', unpack(letter))
local function size() return redis.call('MEMORY', 'USAGE', KEYS[4], 'SAMPLES', 0) end
local left = redis.call('XLEN', KEYS[4])
while left > 1 and size() > tonumber(ARGV[6]) do
  left = math.floor(left / 2)
  redis.call('XTRIM', KEYS[4], 'MAXLEN', left)
end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('DECRBY', KEYS[2], #(fields(entry).g or ''))
redis.call('HINCRBY', KEYS[3], ARGV[5], 1)
return 1
"""

# Servers by the time of this server's clock at which they were here last.
ATTEND = """
redis.call('ZADD', KEYS[1], now(), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now() - tonumber(ARGV[2]))
"""
ATTENDING = """
return redis.call('ZRANGEBYSCORE', KEYS[1], now() - tonumber(ARGV[1]), '+inf')
"""

# Returns groups expired, and whether there may be more.
EXPIRE = """
local function until_(age) return string.format('%.0f', math.max(0, now() - tonumber(age))) end
local function delete(stream, bytes, age)
  local old = redis.call('XRANGE', stream, '-', until_(age), 'COUNT', ARGV[4])
  for _, entry in ipairs(old) do
    redis.call('XDEL', stream, entry[1])
    redis.call('DECRBY', bytes, #fields(entry).g)
  end
  return old
end
local expired = delete(KEYS[1], KEYS[2], ARGV[2])
for _, entry in ipairs(expired) do
  redis.call('XACK', KEYS[1], ARGV[1], entry[1])
  redis.call('HINCRBY', KEYS[3], 'expired', 1)
end
local kept = delete(KEYS[5], KEYS[6], ARGV[3])
redis.call('XTRIM', KEYS[4], 'MINID', '=', until_(ARGV[2]))
local most = tonumber(ARGV[4])
return {#expired, (#expired == most or #kept == most) and 1 or 0}
"""

# Milliseconds that the oldest entry has waited.
AGE = """
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return oldest and math.max(0, now() - tonumber(string.match(oldest[1], '%d+'))) or 0
"""

# One chunk of a stream. Returns entries deleted, and the last id seen ('' at the end).
FORGET = """
local found = redis.call('XRANGE', KEYS[1], ARGV[3], '+', 'COUNT', ARGV[4])
local gone = 0
for _, entry in ipairs(found) do
  local f = fields(entry)
  if f.c == ARGV[2] or f.h == ARGV[2] then
    redis.call('XDEL', KEYS[1], entry[1])
    if KEYS[2] then redis.call('DECRBY', KEYS[2], #f.g) end
    if KEYS[3] then
      redis.call('XACK', KEYS[1], ARGV[1], entry[1])
      redis.call('HINCRBY', KEYS[3], 'forgotten', 1)
    end
    gone = gone + 1
  end
end
return {gone, #found == tonumber(ARGV[4]) and found[#found][1] or ''}
"""

# The entry no longer counts as trained.
REPLAY = """
local entry = redis.call('XRANGE', KEYS[4], ARGV[1], ARGV[1])[1]
if not entry then return 0 end
local f = fields(entry)
redis.call('XDEL', KEYS[4], ARGV[1])
redis.call('DECRBY', KEYS[5], #f.g)
local new = redis.call('XADD', KEYS[1], '*', 'g', f.g, 'c', f.c, 'i', f.i, 'h', f.h or '', 'r', '1')
redis.call('LPUSH', KEYS[6], new)
redis.call('INCRBY', KEYS[2], #f.g)
redis.call('HINCRBY', KEYS[3], 'trained', -1)
return 1
"""

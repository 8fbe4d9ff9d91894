"""The release store's changes of more than one Redis key: each happens whole or not at all."""

# A lease with over an hour more left than is asked for was given before this server's clock was set
# back: no more than that is left of it now. Who holds it and lives renews it in time.
ACQUIRE = """
local left = redis.call('PTTL', KEYS[1])
if left > tonumber(ARGV[1]) + 3600000 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
if left ~= -2 then return 0 end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
"""

SEIZE = """
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
"""

RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

RESIGN = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

# Each change below is written with its ledger entry, by the caller; the scripts check that neither
# ledger nor record has moved since the caller read them. -1 asks for another try. Age goes by the
# server's clock: a caller whose clock has jumped must not make everybody forget what was trained.
_HEAD = """
local function head()
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  return last[1] and last[1][1] or ''
end
if head() ~= ARGV[1] then return -1 end
"""

PUBLISH = (
    _HEAD
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
local now = tonumber(redis.call('TIME')[1])
for i = 7, #ARGV do redis.call('ZADD', KEYS[4], now, ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - tonumber(ARGV[6]))
redis.call('XADD', KEYS[1], '*', 'e', ARGV[2])
return 1
"""
)

PROMOTE = (
    _HEAD
    + """
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[4] then return 0 end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], ARGV[3], ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[3], ARGV[4], ARGV[6]) end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('XADD', KEYS[1], '*', 'e', ARGV[2])
return 1
"""
)

CLOSE = (
    _HEAD
    + """
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('XADD', KEYS[1], '*', 'e', ARGV[2])
return 1
"""
)

PAUSE = (
    _HEAD
    + """
if ARGV[3] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[3]) end
redis.call('XADD', KEYS[1], '*', 'e', ARGV[2])
return 1
"""
)

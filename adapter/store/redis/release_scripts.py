"""The release store's changes of more than one Redis key: each is made whole or not at all."""

# A lease that has over an hour more left than is asked for dates from before this server's clock
# was set back: it is cut to what is asked for. A holder that lives renews it in time.
ACQUIRE = """
local left = redis.call('PTTL', KEYS[1])
if left > tonumber(ARGV[1]) + 3600000 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
if left ~= -2 then return 0 end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
"""

TAKE_OVER = """
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

# A server that judges goes on judging; another begins once its lease has run out.
JUDGES = """
local judge = redis.call('GET', KEYS[1])
if judge and judge ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# Each change below stands between these two. The first checks that the ledger has not moved since
# the caller read it (-1 asks for another try), the second appends the caller's entry.
GUARD = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if (last and last[1] or '') ~= ARGV[1] then return -1 end
"""
APPEND = """
redis.call('XADD', KEYS[1], '*', 'e', ARGV[2])
return 1
"""

# Age goes by the server's clock: a caller whose clock has jumped must not drop what was trained.
PUBLISH = """
if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
local now = tonumber(redis.call('TIME')[1])
for i = 7, #ARGV do redis.call('ZADD', KEYS[4], now, ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - tonumber(ARGV[6]))
"""

PROMOTE = """
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[4] then return 0 end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], ARGV[3], ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[3], ARGV[4], ARGV[6]) end
redis.call('SET', KEYS[2], ARGV[3])
"""

CLOSE = """
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
"""

PAUSE = """
if ARGV[3] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[3]) end
"""

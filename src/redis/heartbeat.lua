-- Says that a replica lives, and answers how many do.
-- KEYS: the set of replicas. ARGV: the replica, how long this holds in milliseconds; 0: it leaves.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holds = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if holds > 0 then
  redis.call('ZADD', KEYS[1], now + holds, ARGV[1])
  redis.call('PEXPIRE', KEYS[1], 2 * holds)
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return redis.call('ZCARD', KEYS[1])

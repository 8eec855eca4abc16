-- Keeps an answer, with the time in 13 digits of milliseconds before it.
-- KEYS: its place. ARGV: the answer, how long it holds in milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], string.format('%013d', now) .. ARGV[1], 'PX', ARGV[2])
return 1

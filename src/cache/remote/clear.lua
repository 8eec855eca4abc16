-- Makes every answer kept so far one that is not found.
-- KEYS: when answers were cleared.
local time = redis.call('TIME')
redis.call('SET', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000))
return 1

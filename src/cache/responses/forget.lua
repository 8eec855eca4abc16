-- Forgets a response.
-- KEYS: its place.
return redis.call('DEL', KEYS[1])

-- Looks for an answer.
-- KEYS: where it may be, one after the other, and last when answers were cleared.
-- Answers which of the places has one, how old it is in milliseconds, and the answer; or nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local cleared = tonumber(redis.call('GET', KEYS[#KEYS]) or '-1')
for place = 1, #KEYS - 1 do
  local kept = redis.call('GET', KEYS[place])
  if kept then
    local since = tonumber(string.sub(kept, 1, 13))
    if since and since > cleared then
      return { place, math.max(0, now - since), string.sub(kept, 14) }
    end
  end
end
return false

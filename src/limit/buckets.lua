-- Token buckets that several gateways take from. The Redis' own clock is the only one.
--
-- KEYS: one for each bucket, a hash of what is `spent` and `at` which microsecond. No key is a full bucket.
-- ARGV: `take`, which takes from all buckets or from none, or `spend`, which asks for nothing;
--       the least and the most to take, or what is spent (less than 0 puts back);
--       the last microsecond at which a `take` is of use, 0 for any;
--       then for each bucket its capacity, and what flows back in a second.
-- Amounts are in thousandths.
-- Answers with what was taken, -1 for too little, -2 for too late; the microsecond; what is spent of each bucket.
local act, need, want, latest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if latest > 0 and now > latest then
  return {-2, now}
end

local amount, short, spent = want, false, {}
for index, key in ipairs(KEYS) do
  local capacity, refill = tonumber(ARGV[3 + 2 * index]), tonumber(ARGV[4 + 2 * index])
  local known = redis.call('HMGET', key, 'spent', 'at')
  local passed = math.max(now - tonumber(known[2] or now), 0)
  spent[index] = math.max(tonumber(known[1] or 0) - passed * refill / 1000000, 0)
  if act == 'take' then
    local left = capacity - spent[index]
    -- A tenth of a thousandth is lost to rounding.
    short = short or left + 0.1 < need
    amount = math.max(math.min(amount, left), need)
  end
end

amount = math.floor(amount)
local answer = {short and -1 or amount, now}
for index, key in ipairs(KEYS) do
  local refill = tonumber(ARGV[4 + 2 * index])
  if not short then
    spent[index] = math.max(spent[index] + amount, 0)
    if spent[index] == 0 then
      redis.call('DEL', key)
    else
      redis.call('HSET', key, 'spent', string.format('%.6f', spent[index]), 'at', string.format('%.0f', now))
      -- Once all has flowed back it is as if there were no key.
      redis.call('PEXPIRE', key, string.format('%.0f', math.min(spent[index] / refill * 1000, 1e12) + 1000))
    end
  end
  answer[2 + index] = math.floor(spent[index] + 0.5)
end
return answer

-- Leases out the slots of one provider. Each replica comes every so often, says what it holds and wants, and is told
-- what it may hold from now on. What is leased never adds up to more than the limit.
--
-- KEYS: the provider's book, a hash; the book of the whole Redis, a hash.
-- ARGV: the replica; the number of this ask, higher each time; the limit it knows (0: it leaves); the most it may run
--       until it is answered; the most it wants; how long an answer holds, in milliseconds.
-- Answers: its lease, the limit, the replicas, what it would get if it wanted everything, and for how many
--       milliseconds nobody gets more than he holds; or nothing, when a later ask of it came first.
local id, number, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held, wanted, holds = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A Redis that was started again may remember what was true some time before, or nothing. Its run tells.
local about = redis.pcall('INFO', 'server')
local run = type(about) == 'string' and string.match(about, 'run_id:(%x+)') or 'unknown'
local known = redis.call('HMGET', KEYS[2], 'run', 'since')
local since = tonumber(known[2])
if known[1] ~= run or not since then
  since = now
  redis.call('HSET', KEYS[2], 'run', run, 'since', since)
end

-- The line of the book that is nobody's: its run, since when it can be trusted, when it was last written, and whether
-- everybody had left in order.
local head = redis.call('HGET', KEYS[1], '')
local its_run, its_since, last, empty = string.match(head or '', '(%w+) (%d+) (%d+) (%d)')
if its_run == run then
  its_since = tonumber(its_since)
  -- Nobody came for so long that leases may have ended unseen, as when the Redis itself stood still: their holders
  -- go on with parts of their own, which nobody has told us of yet.
  if empty == '0' and now - tonumber(last) > holds / 2 then its_since = now end
  since = math.max(since, its_since)
elseif head then
  redis.call('DEL', KEYS[1])
end
-- A provider that is new in a Redis that is not can be trusted at once.

local mine, others, used = nil, {}, 0
local lines = redis.call('HGETALL', KEYS[1])
for i = 1, #lines, 2 do
  local field = lines[i]
  if field ~= '' then
    local n, of, lease, holding, want, ends =
      string.match(lines[i + 1], '(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)')
    if field == id then
      mine = tonumber(n)
    elseif tonumber(ends) <= now then
      redis.call('HDEL', KEYS[1], field)
    else
      table.insert(others, {id = field, want = tonumber(want)})
      used = used + math.max(tonumber(lease), tonumber(holding))
      -- While a change of the limit goes round the smallest counts.
      if limit > 0 then limit = math.min(limit, tonumber(of)) end
    end
  end
end

-- An ask that was given up may arrive after a later one.
if mine and number <= mine then return false end

local function write(is_empty)
  redis.call('HSET', KEYS[1], '', run .. ' ' .. string.format('%d %d %d', since, now, is_empty))
  redis.call('PEXPIRE', KEYS[1], 86400000)
end

if limit == 0 then
  redis.call('HDEL', KEYS[1], id)
  write(#others == 0 and 1 or 0)
  return {0, 0, #others, 0, 0}
end

-- Max-min fair: whoever wants little gets that, and the rest is divided among those who want more.
local parties = others
table.insert(parties, {id = id, want = wanted})
table.sort(parties, function(a, b) return a.id < b.id end)
local count, wanting = #parties, 0
for _, party in ipairs(parties) do
  if party.want > 0 then wanting = wanting + 1 end
end
-- With fewer slots than replicas that want one they take turns.
local turn = wanting > limit and math.floor(now / holds) or 0
for rank, party in ipairs(parties) do party.rank = (rank + turn) % count end
table.sort(parties, function(a, b)
  if a.want ~= b.want then return a.want < b.want end
  return a.rank < b.rank
end)
local left, part = limit, 0
for place, party in ipairs(parties) do
  local its = math.min(party.want, math.floor(left / (count - place + 1)))
  left = left - its
  if party.id == id then part = its end
end
-- Half of what nobody wants is kept at hand by all, the other half waits here for whoever asks first.
if count == 1 then part = part + left else part = part + math.floor(left / 2 / count) end

local lease = math.min(part, math.max(limit - used, 0))
local settling = math.max(since + holds - now, 0)
if settling > 0 then lease = math.min(lease, held) end
redis.call('HSET', KEYS[1], id, string.format('%d %d %d %d %d %d',
  number, tonumber(ARGV[3]), lease, held, wanted, now + holds))
write(0)
if wanted == 0 then wanting = wanting + 1 end
return {lease, limit, count, math.max(math.floor(limit / wanting), 1), settling}

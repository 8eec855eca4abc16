-- Whose turn it is to have a model loaded at one server, and what its gateways tell each other. Each comes every so
-- often, and is told what all others said last.
--
-- KEYS: the provider's board, a hash.
-- ARGV: the gateway; the number of this call, higher each time; how long what it says holds, in milliseconds (0: it
--       leaves); its word to the others (empty: it has no work); for how many milliseconds the model is wanted for which
--       it asks for a turn (-1: it does not ask); the last round after which it has looked at the server; its swap
--       (empty: none is in progress).
-- Answers: the round, whether it is its turn, whether its turn has just ended, another one's swap, for how many
--       milliseconds that has its turn, and the others' words; or nothing, when a later call of it came first.
local id, number, holds = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local word, age, seen, swap = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
-- An asker that has not looked at the server since the last turn comes first all the same for so long.
local grace = 1000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(value) return string.format('%.0f', value) end

local head = redis.call('HMGET', KEYS[1], 'round', 'changed', 'holder', 'until', 'since', 'swap')
-- After its keys were lost the first round is one that nobody has seen.
local round, changed = tonumber(head[1]) or now, tonumber(head[2]) or now
local holder, ends, since = head[3] or '', tonumber(head[4]) or 0, tonumber(head[5]) or 0
local present = head[6] or ''
local function close()
  round, changed, holder, present = round + 1, now, '', ''
end
if holder ~= '' and ends <= now then close() end

local wanted = now - age
local words, earlier, mine = {}, false, nil
local lines = redis.call('HGETALL', KEYS[1])
for i = 1, #lines, 2 do
  local other = string.match(lines[i], '^g:(.*)')
  if other then
    local n, its_end, asks, looked, said = string.match(lines[i + 1], '^(%d+) (%d+) (%d+) (%d+) (.*)$')
    if other == id then
      mine = tonumber(n)
    elseif tonumber(its_end) <= now then
      redis.call('HDEL', KEYS[1], lines[i])
    else
      if said ~= '' then table.insert(words, said) end
      asks = tonumber(asks)
      local first = asks > 0 and (asks < wanted or asks == wanted and other < id)
      if first and (tonumber(looked) == round or now - changed < grace) then earlier = true end
    end
  end
end
-- A call that was given up may arrive after a later one.
if mine and number <= mine then return false end

local ended = 0
if holds == 0 then
  redis.call('HDEL', KEYS[1], 'g:' .. id)
  if holder == id then close() end
else
  if holder == id then
    if swap ~= '' then
      ends, present = now + holds, swap
    elseif age < 0 or present ~= '' then
      close()
      ended = 1
    end
  elseif holder == '' then
    -- A swap in progress was begun while nobody could be asked.
    if swap ~= '' or age >= 0 and seen == round and not earlier then
      holder, ends, since, present = id, now + holds, now, swap
    end
  end
  local asks = (age >= 0 and holder ~= id) and wanted or 0
  redis.call('HSET', KEYS[1], 'g:' .. id,
    table.concat({number, whole(now + holds), whole(asks), whole(seen), word}, ' '))
end
redis.call('HSET', KEYS[1], 'round', whole(round), 'changed', whole(changed), 'holder', holder,
  'until', whole(ends), 'since', whole(since), 'swap', present)
redis.call('PEXPIRE', KEYS[1], 86400000)

local answer = {round, holder == id and 1 or 0, ended, holder ~= id and present or '', now - since}
for _, said in ipairs(words) do table.insert(answer, said) end
return answer

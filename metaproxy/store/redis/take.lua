-- Charges several counters at once, or none of them if one has no room.
--
-- KEYS     the counters; each holds "amount:since", as metaproxy.protocol.limits.policy describes a state.
--          One that holds anything else counts as untouched: MGET returns nil for another type, and a text
--          that is not two numbers is not matched.
-- ARGV     the algorithm, the cost (0 only looks, less gives back), then for each key: weight, capacity, pace
-- returns  admitted (1 or 0), now in microseconds, then for each key: amount, since
--
-- The server's clock is the only one, so that replicas need not agree on theirs. Numbers are doubles:
-- exact, because no state counts more than 2^53 units.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fixed_window = ARGV[1] == 'fixed-window'
local cost = tonumber(ARGV[2])
local exact = 2 ^ 53

local function settle(amount, since, pace)
  if now < since then
    return amount, now
  end
  if fixed_window then
    if amount > 0 and now < since + pace then
      return amount, since
    end
    return 0, now
  end
  return math.max(amount - (now - since) * pace, 0), now
end

local function milliseconds_to_live(amount, since, pace)
  if fixed_window then
    return math.ceil((since + pace - now) / 1000)
  end
  return math.ceil(amount / pace / 1000)
end

local reply = { 1, now }
local stored = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS do
  local amount, since = string.match(stored[i] or '', '^(%d+):(%d+)$')
  amount = math.min(tonumber(amount or 0), tonumber(ARGV[3 * i + 1]))
  since = math.min(tonumber(since or 0), exact)
  amount, since = settle(amount, since, tonumber(ARGV[3 * i + 2]))
  if amount + cost * ARGV[3 * i] > tonumber(ARGV[3 * i + 1]) then
    reply[1] = 0
  end
  reply[2 * i + 1], reply[2 * i + 2] = amount, since
end

if reply[1] == 1 and cost ~= 0 then
  for i, key in ipairs(KEYS) do
    local amount, since = math.max(reply[2 * i + 1] + cost * ARGV[3 * i], 0), reply[2 * i + 2]
    if amount == 0 then
      redis.call('DEL', key)
    else
      redis.call(
        'SET', key, string.format('%.0f:%.0f', amount, since),
        'PX', milliseconds_to_live(amount, since, tonumber(ARGV[3 * i + 2]))
      )
    end
    reply[2 * i + 1] = amount
  end
end
return reply

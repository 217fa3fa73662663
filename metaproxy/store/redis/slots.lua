-- Makes or renews slots of requests that run: one sorted set for each consumer, of slots by the millisecond at
-- which they end.
--
-- KEYS     the sets. One that holds another type counts as empty.
-- ARGV     the most slots that a set may have (-1 sets no limit), the lease in milliseconds, then for each key
--          the number of its slots, and the slots
-- returns  1, or 0 if a set is full; nothing is made then
--
-- The server's clock is the only one. A server that becomes the primary may have an earlier one: no slot ends
-- later than a lease from now.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, lease = tonumber(ARGV[1]), tonumber(ARGV[2])
local at = 3

for _, key in ipairs(KEYS) do
  local swept = redis.pcall('ZREMRANGEBYSCORE', key, '-inf', now)
  if type(swept) == 'table' and swept.err then
    if not string.find(swept.err, 'WRONGTYPE', 1, true) then
      return swept
    end
    redis.call('DEL', key)
  end
  if most >= 0 and redis.call('ZCARD', key) >= most then
    return 0
  end
  for _, slot in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. now + lease, '+inf')) do
    redis.call('ZADD', key, now + lease, slot)
  end
  for i = at + 1, at + ARGV[at] do
    redis.call('ZADD', key, now + lease, ARGV[i])
  end
  at = at + 1 + ARGV[at]
  redis.call('PEXPIRE', key, lease)
end
return 1

-- Charges several counters at once, or none of them if one has no room; takes slices back, and lends new ones.
--
-- KEYS     the counters; each holds "amount:since", as metaproxy.protocol.limits.policy describes a state, and
--          if slices are out, ":born" and for each moment at which slices end ";end:units", the next end first
--          (metaproxy.protocol.limits.lending). One that holds anything else counts as untouched: MGET returns
--          nil for another type, and a text that is not two numbers is not matched.
-- ARGV     the algorithm, the cost (0 only looks, less gives back); then the short form, a charge alone:
--          for each key: weight, capacity, pace
--          or the long form: 1 if the counters lend the same number or nothing, or 0 if each lends by itself;
--          then for each key: weight, capacity, pace, life of a slice, requests to lend, number of reports,
--          and each report as born, end, spent, unused
-- returns  admitted (1 or 0), now in microseconds, then for each key: amount, since, requests lent, life, born, end
--
-- The server's clock is the only one, so that replicas need not agree on theirs. Numbers are doubles:
-- exact, because no state counts more than 2^53 units.

-- A script makes its functions anew in each run, which costs more than a charge. So a charge to counters that
-- have no slices out is done and returned before any of them is made.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fixed_window = ARGV[1] == 'fixed-window'
local cost = tonumber(ARGV[2])
local stored = redis.call('MGET', unpack(KEYS))
local is_short = #ARGV == 2 + 3 * #KEYS

local function charge_alone()
  local reply = { 1, now }
  for i = 1, #KEYS do
    local amount, since = 0, 0
    if stored[i] then
      amount, since = string.match(stored[i], '^(%d+):(%d+)$')
      if not amount then
        return nil
      end
    end
    local capacity, pace = tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
    amount, since = math.min(tonumber(amount), capacity), tonumber(since)
    if now < since then
      since = now
    elseif not fixed_window then
      amount, since = math.max(amount - (now - since) * pace, 0), now
    elseif amount == 0 or now >= since + pace then
      amount, since = 0, now
    end
    if amount + cost * ARGV[3 * i] > capacity then
      reply[1] = 0
    end
    reply[2 * i + 1], reply[2 * i + 2] = amount, since
  end
  if reply[1] == 0 or cost == 0 then
    return reply
  end
  for i, key in ipairs(KEYS) do
    local amount, since = math.max(reply[2 * i + 1] + cost * ARGV[3 * i], 0), reply[2 * i + 2]
    if amount == 0 then
      redis.call('DEL', key)
    else
      local pace = tonumber(ARGV[3 * i + 2])
      local ending = fixed_window and since + pace - now or amount / pace
      redis.call('SET', key, string.format('%.0f:%.0f', amount, since), 'PX', math.ceil(ending / 1000))
    end
    reply[2 * i + 1] = amount
  end
  return reply
end

if is_short then
  local reply = charge_alone()
  if reply then
    return reply
  end
end

local FEWEST, ONE_OF_FREE, GRANULES, LONGEST_LIFE = 4, 8, 8, 1000000
local together = not is_short and ARGV[3] == '1'

local place = is_short and 2 or 3
local function argument()
  place = place + 1
  return tonumber(ARGV[place])
end

local function leak(account, moment)
  if moment > account.since then
    account.amount = math.max(account.amount - (moment - account.since) * account.pace, 0)
  end
  account.since = moment
end

local function settle(account)
  if fixed_window then
    if now < account.since then
      account.since = now
    elseif account.amount + account.out == 0 or now >= account.since + account.pace then
      account.amount, account.out, account.since, account.lent = 0, 0, now, {}
    end
  end
  local kept = {}
  for _, slice in ipairs(account.lent) do
    if now < slice[1] and slice[1] <= now + 2 * LONGEST_LIFE then
      kept[#kept + 1] = slice
    else
      if not fixed_window then
        leak(account, math.min(math.max(slice[1], account.since), now))
      end
      account.amount = account.amount + slice[2]
      account.out = account.out - slice[2]
    end
  end
  account.lent = kept
  if not fixed_window then
    leak(account, now)
  end
end

local function read(stored)
  local account = { weight = argument(), capacity = argument(), pace = argument(), life = 0, wanted = 0, reports = 0 }
  if not is_short then
    account.life, account.wanted, account.reports = argument(), argument(), argument()
  end
  local amount, since, rest = string.match(stored or '', '^(%d+):(%d+)(.*)$')
  local born, slices = string.match(rest or '', '^:(%d+)(;[%d:;]+)$')
  if rest ~= '' and not born then
    amount, since = nil, nil
  end
  account.amount = math.min(tonumber(amount or 0), account.capacity)
  account.since = tonumber(since or 0)
  account.born = tonumber(born or 0)
  account.out, account.lent = 0, {}
  for ending, units in string.gmatch(slices or '', ';(%d+):(%d+)') do
    units = math.min(tonumber(units), account.capacity - account.amount - account.out)
    account.out = account.out + units
    account.lent[#account.lent + 1] = { tonumber(ending), units }
  end
  settle(account)
  return account
end

local function take_back(account, born, ending, spent, unused)
  if born ~= account.born then
    return
  end
  for i, slice in ipairs(account.lent) do
    if slice[1] == ending then
      local joining = math.min(spent * account.weight, slice[2])
      local left = math.max(slice[2] - joining - unused * account.weight, 0)
      account.amount = account.amount + joining
      account.out = account.out - slice[2] + left
      slice[2] = left
      if left == 0 then
        table.remove(account.lent, i)
      end
      return
    end
  end
end

local function life(account)
  if not fixed_window then
    return account.life
  end
  if account.amount == 0 then
    return 0
  end
  local rest = account.since + account.pace - now
  return math.min(account.life, math.floor(rest * GRANULES / (GRANULES + 1)))
end

local function lendable(account)
  local free = account.capacity - account.amount - account.out
  local half = math.floor((account.capacity - account.amount) / 2) - account.out
  local requests = math.floor(math.min(math.floor(free / ONE_OF_FREE), half) / account.weight)
  requests = math.min(account.wanted, requests)
  if requests < FEWEST or life(account) < 20000 then
    return 0
  end
  return requests
end

local function lend(account, requests)
  local granule = math.floor(account.life / GRANULES)
  account.lends, account.lives = requests, life(account)
  local ending = math.ceil((now + account.lives + granule) / granule) * granule
  if fixed_window then
    ending = math.min(ending, account.since + account.pace)
  end
  if #account.lent == 0 then
    account.born = math.max(now, account.born + 1)
  end
  account.ending = ending
  local units = requests * account.weight
  account.out = account.out + units
  for i, slice in ipairs(account.lent) do
    if slice[1] == ending then
      slice[2] = slice[2] + units
      return
    elseif slice[1] > ending then
      table.insert(account.lent, i, { ending, units })
      return
    end
  end
  account.lent[#account.lent + 1] = { ending, units }
end

local function write(key, account)
  local total = account.amount + account.out
  if total == 0 then
    redis.call('DEL', key)
    return
  end
  local text, milliseconds = string.format('%.0f:%.0f', account.amount, account.since), 0
  if #account.lent > 0 then
    text = text .. string.format(':%.0f', account.born)
    for _, slice in ipairs(account.lent) do
      text = text .. string.format(';%.0f:%.0f', slice[1], slice[2])
    end
    milliseconds = 2 * LONGEST_LIFE / 1000
  end
  if fixed_window then
    milliseconds = math.ceil((account.since + account.pace - now) / 1000)
  else
    milliseconds = milliseconds + math.ceil(total / account.pace / 1000)
  end
  redis.call('SET', key, text, 'PX', string.format('%.0f', milliseconds))
end

local admitted, wanted, changed, fewest = 1, false, cost ~= 0, math.huge
local accounts = {}
for i = 1, #KEYS do
  local account = read(stored[i])
  accounts[i] = account
  account.lends, account.lives, account.ending = 0, 0, 0
  wanted = wanted or account.wanted > 0
  for _ = 1, account.reports do
    take_back(account, argument(), argument(), argument(), argument())
    changed = true
  end
  if account.amount + account.out + cost * account.weight > account.capacity then
    admitted = 0
  end
end

if admitted == 1 then
  for i, account in ipairs(accounts) do
    account.amount = math.max(account.amount + cost * account.weight, 0)
    if account.wanted > 0 then
      fewest = math.min(fewest, lendable(account))
    end
  end
  for i, account in ipairs(accounts) do
    if account.wanted > 0 then
      local requests = together and fewest or lendable(account)
      if requests > 0 then
        lend(account, requests)
        changed = true
      end
    end
  end
end

local reply = { admitted, now }
for i, account in ipairs(accounts) do
  if changed and admitted == 1 then
    write(KEYS[i], account)
  end
  reply[#reply + 1] = account.amount + account.out
  reply[#reply + 1] = account.since
  if wanted then
    reply[#reply + 1] = account.lends
    reply[#reply + 1] = account.lives
    reply[#reply + 1] = account.born
    reply[#reply + 1] = account.ending
  end
end
return reply

-- Sends the requests in the file $BENCH_REQUESTS one after another, again and again, as they are written
-- there; "{counter}" in them becomes a number that starts at $BENCH_START and is never used twice.
-- At the end it prints what wrk has counted as one line of JSON.

local file = assert(io.open(os.getenv("BENCH_REQUESTS"), "rb"))
local heads = {}
for head in file:read("*a"):gmatch(".-\r\n\r\n") do
  heads[#heads + 1] = head
end
file:close()

local before, after = heads[1]:match("^(.-){counter}(.*)$")

if before then
  local counter = tonumber(os.getenv("BENCH_START"))
  function request()
    counter = counter + 1
    return before .. counter .. after
  end
else
  local position = 0
  function request()
    position = position % #heads + 1
    return heads[position]
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"status_errors":%d,"socket_errors":%d,' ..
      '"p50":%d,"p90":%d,"p99":%d,"max":%d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end

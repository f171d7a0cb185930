-- A counter that ends with its window. ARGV: window in milliseconds (0 never ends), limit, cost.
-- Returns admitted (1 or 0), the count, milliseconds until it ends (-1 never).
local value = redis.call('GET', KEYS[1])
local window, limit, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local left = window > 0 and window or -1
local count = 0
if value then
  if not string.match(value, '^%-?%d+$') then
    return redis.error_reply('NOTCOUNTER the value is no number')
  end
  local ends = redis.call('PTTL', KEYS[1])
  if ends < 0 and window > 0 then
    -- A counter without an end, from a time when the window had none: it starts anew.
    value = false
  else
    count = tonumber(value)
    left = ends
  end
end
if count + cost > limit then
  return {0, count, left}
end
if value then
  count = redis.call('INCRBY', KEYS[1], cost)
elseif window > 0 then
  redis.call('SET', KEYS[1], cost, 'PX', window)
  count = cost
else
  redis.call('SET', KEYS[1], cost)
  count = cost
end
return {1, count, left}

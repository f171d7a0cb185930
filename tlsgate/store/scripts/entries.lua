-- Values with what is left of their lives (milliseconds, -1 for ever): value, left, value, left, ... in the order of KEYS.
local values = redis.call('MGET', unpack(KEYS))
local found = {}
for index, key in ipairs(KEYS) do
  found[2 * index - 1] = values[index]
  found[2 * index] = values[index] and redis.call('PTTL', key) or -1
end
return found

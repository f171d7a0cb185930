-- Removes ARGV from a set or list.
local kind = redis.call('TYPE', KEYS[1]).ok
for _, member in ipairs(ARGV) do
  if kind == 'list' then
    redis.call('LREM', KEYS[1], 0, member)
  else
    redis.call('SREM', KEYS[1], member)
  end
end
return 1

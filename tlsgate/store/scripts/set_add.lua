-- Adds ARGV to a set; to a list where Tyk made one, each member once.
local kind = redis.call('TYPE', KEYS[1]).ok
for _, member in ipairs(ARGV) do
  if kind == 'list' then
    redis.call('LREM', KEYS[1], 0, member)
    redis.call('RPUSH', KEYS[1], member)
  else
    redis.call('SADD', KEYS[1], member)
  end
end
return 1

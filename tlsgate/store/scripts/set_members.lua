-- The members of a set or list; none of anything else.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'set' then
  return redis.call('SMEMBERS', KEYS[1])
elseif kind == 'list' then
  return redis.call('LRANGE', KEYS[1], 0, -1)
end
return {}

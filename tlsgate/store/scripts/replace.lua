-- SET if the name holds what the caller has read. ARGV: value, 'present' | 'absent', what was read, perhaps seconds.
local kind = redis.call('TYPE', KEYS[1]).ok
if ARGV[2] == 'absent' then
  if kind ~= 'none' then
    return 0
  end
elseif kind ~= 'string' or redis.call('GET', KEYS[1]) ~= ARGV[3] then
  return 0
end
if ARGV[4] then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[1])
end
return 1

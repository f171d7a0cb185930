-- SET that keeps the life of an existing value and gives a new one its own. ARGV: value, seconds, 'present' | 'absent' | ''.
if redis.call('EXISTS', KEYS[1]) == 1 then
  if ARGV[3] == 'absent' then
    return 0
  end
  redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL')
else
  if ARGV[3] == 'present' then
    return 0
  end
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return 1

-- The log of a sliding window: a sorted set of nanoseconds.
-- ARGV: score of this entry, score up to which entries are out, limit, 1 to log refused ones too, milliseconds of the window,
-- entries to keep, a text that makes the member unlike any other.
-- Returns admitted (1 or 0), the number of entries, the oldest one's score.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
local count = redis.call('ZCARD', KEYS[1])
local admitted = count < tonumber(ARGV[3]) and 1 or 0
if admitted == 1 or ARGV[4] == '1' then
  -- The member is the score, as Tyk's are, unless one of the same moment is there.
  if redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[1]) == 0 then
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[1] .. '-' .. ARGV[7])
  end
  count = count + 1
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  local surplus = count - tonumber(ARGV[6])
  if surplus > 0 then
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, surplus - 1)
    count = count - surplus
  end
end
return {admitted, count, redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or false}

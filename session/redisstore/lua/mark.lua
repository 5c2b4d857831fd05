-- Remember when a name was revoked: KEYS name; ARGV mark as read, new mark, how
-- long to keep it. Returns the fields.
if (redis.call('HGET', KEYS[1], 'm') or '') ~= ARGV[1] then
  return { 'changed' }
end
local new = redis.call('EXISTS', KEYS[1]) == 0
redis.call('HSET', KEYS[1], 'm', ARGV[2])
lengthen(KEYS[1], new, ARGV[3])
return { 'ok', redis.call('HGETALL', KEYS[1]) }

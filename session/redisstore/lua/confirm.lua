-- Make a reservation a session of the name: KEYS name; ARGV handle. Returns when
-- the name was revoked last.
local v = redis.call('HGET', KEYS[1], ARGV[1])
if not v or string.sub(v, 1, 1) ~= 'r' then
  return { 'lost' }
end
redis.call('HSET', KEYS[1], ARGV[1], '')
return { 'ok', redis.call('HGET', KEYS[1], 'm') or '' }

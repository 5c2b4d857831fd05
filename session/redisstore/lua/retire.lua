-- Note that sessions of a name have ended: KEYS name; ARGV how long to keep the
-- name, handles.
for n = 2, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[n]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[n], 'x')
    lengthen(KEYS[1], false, ARGV[1])
  end
end
return 'ok'

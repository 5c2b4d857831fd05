-- Reserve a place for a session at a name: KEYS name; ARGV number of reservations
-- as read (empty: any), handle, its state as read ('-': none), lease in milliseconds,
-- how long to keep the name (empty: for ever), then handle and new state of others
-- ('-': none; 'r': none, if it is still a reservation).
if ARGV[1] ~= '' and (redis.call('HGET', KEYS[1], 'q') or '0') ~= ARGV[1] then
  return 'changed'
end
if (redis.call('HGET', KEYS[1], ARGV[2]) or '-') ~= ARGV[3] then
  return 'changed'
end
for n = 6, #ARGV, 2 do
  if ARGV[n + 1] == 'r' and string.sub(redis.call('HGET', KEYS[1], ARGV[n]) or 'r', 1, 1) ~= 'r' then
    return 'changed'
  end
end
local t, new = redis.call('TIME'), redis.call('EXISTS', KEYS[1]) == 0
local till = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) + tonumber(ARGV[4])
redis.call('HINCRBY', KEYS[1], 'q', 1)
redis.call('HSET', KEYS[1], ARGV[2], 'r' .. string.format('%.0f', till))
for n = 6, #ARGV, 2 do
  if ARGV[n + 1] == '-' or ARGV[n + 1] == 'r' then
    redis.call('HDEL', KEYS[1], ARGV[n])
  elseif redis.call('HEXISTS', KEYS[1], ARGV[n]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1])
  end
end
lengthen(KEYS[1], new, ARGV[5])
return 'ok'

-- Replace a value that was read and decided upon: KEYS record, epoch, notice,
-- chunk; ARGV header as read (empty: whatever it is), last-seen as read, epoch as
-- read, new value (empty: none), how long to keep it (empty: for ever).
if ARGV[1] ~= '' then
  local v = redis.call('GETRANGE', KEYS[1], 0, 72)
  if #v < 73 or string.sub(v, 1, 8) ~= ARGV[1] or string.sub(v, 66) ~= ARGV[2]
    or (redis.call('GET', KEYS[2]) or '') ~= ARGV[3] then
    return 'changed'
  end
end
if ARGV[4] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[3], '')
  redis.call('DEL', KEYS[3])
  return 'ok'
end
put(KEYS[1], KEYS[3], ARGV[4], ARGV[5])
if redis.call('EXISTS', KEYS[4]) == 1 then
  lengthen(KEYS[4], false, ARGV[5])
end
return 'ok'

-- Settle a creation: KEYS record; ARGV how long to keep it (empty: for ever).
local flags = redis.call('GETRANGE', KEYS[1], 17, 17)
if flags == '' then
  return 'gone'
end
if bit.band(string.byte(flags), 4) == 0 then -- it has not ended already
  lengthen(KEYS[1], false, ARGV[1])
end
return 'ok'

-- Revoke everything in a bucket: KEYS epoch, log, directory, chunks; ARGV epoch as
-- read, new epoch without its number, entry of the log without its number, keep,
-- how many entries to hold. What is revoked is remembered for as long as any
-- session is that it concerns.
local old = redis.call('GET', KEYS[1]) or ''
if old ~= ARGV[1] then
  return 'changed'
end
local number = tonumber(redis.call('TIME')[1])
if old ~= '' then
  number = math.max(number, struct.unpack('>I4', old) + 1)
end
local most, dir = tonumber(ARGV[4]), redis.call('GET', KEYS[3]) or ''
for i = 1, #dir, 4 do
  local left = redis.call('PTTL', KEYS[4] .. struct.unpack('>I4', dir, i))
  if left == -1 then
    most = ''
    break
  end
  most = math.max(most, left)
end
if most ~= '' then
  most = string.format('%.0f', most + 120000)
end
number = struct.pack('>I4', number)
redis.call('RPUSH', KEYS[2], number .. ARGV[3])
redis.call('LTRIM', KEYS[2], -tonumber(ARGV[5]), -1)
lengthen(KEYS[2], old == '', most)
redis.call('SET', KEYS[1], number .. ARGV[2], 'KEEPTTL')
lengthen(KEYS[1], old == '', most)
return 'ok'

-- Create: KEYS record, epoch, notice, directory, chunks; ARGV epoch as read,
-- value, how long to keep it (empty: for ever), handle, how long to keep what it
-- is found by (empty: for ever).
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 'exists'
end
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then
  return 'changed'
end
local dir = redis.call('GET', KEYS[4])
if not dir then
  dir = struct.pack('>I4', 0)
  redis.call('SET', KEYS[4], dir)
  lengthen(KEYS[4], true, ARGV[5])
else
  lengthen(KEYS[4], false, ARGV[5])
end

-- The handle goes to the end of the last chunk.
local n = struct.unpack('>I4', dir, #dir - 3)
local chunk = KEYS[5] .. n
local size = redis.call('APPEND', chunk, ARGV[4])
lengthen(chunk, size == #ARGV[4], ARGV[5])
if size >= 2048 then
  -- It is full and will be followed by the next. A few others are looked at whether
  -- they have expired, different ones each time.
  local kept, count = {}, #dir / 4
  for c = 0, count - 1 do
    local number = string.sub(dir, c * 4 + 1, c * 4 + 4)
    if (c - n * 8) % count >= 8 or redis.call('EXISTS', KEYS[5] .. struct.unpack('>I4', number)) == 1 then
      kept[#kept + 1] = number
    end
  end
  kept[#kept + 1] = struct.pack('>I4', (n + 1) % 4294967296)
  redis.call('SET', KEYS[4], table.concat(kept), 'KEEPTTL')
end

put(KEYS[1], KEYS[3], string.sub(ARGV[2], 1, 8) .. struct.pack('>I4', n) .. string.sub(ARGV[2], 13), ARGV[3])
return 'ok'

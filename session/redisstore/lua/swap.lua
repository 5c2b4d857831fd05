-- Swap: KEYS record, epoch, notice; ARGV version, now, digest of the fixed facts,
-- head, keep, whether what the session is found by has been prolonged (empty: no),
-- then name and encoding of each part to change.
local read = call('MGET', KEYS[1], KEYS[2])
local v = read[1]
if not v then
  return 'gone'
end
if byte(v, 17) ~= 1 then
  return 'format'
end
local flags = byte(v, FLAGS)
local nh, nl = unpack('>i4I4', ARGV[2])
local sh, sl, eh, el, ih, il = times(v)
if bit.band(flags, ENDED) ~= 0 or (eh and not before(nh, nl, eh, el)) then
  return 'gone'
end
if overtaken(v, read[2]) then
  return 'epoch'
end
if ih and flags % 2 ~= IDLE_LOCKS and not before(nh, nl, ih, il) then
  return 'gone'
end
if sub(v, VERSION, VERSION - 1 + #ARGV[1]) ~= ARGV[1] then
  return 'conflict'
end
if sub(v, 13, 16) ~= ARGV[3] then
  return 'differs'
end

-- What may only be tightened: the head begins at the 17th byte of a value.
local head = ARGV[4]
if bit.band(flags, LOCKED) ~= 0 and bit.band(byte(head, FLAGS - 16), LOCKED) == 0 then
  head = sub(head, 1, FLAGS - 17) .. string.char(byte(head, FLAGS - 16) + LOCKED) .. sub(head, FLAGS - 15)
end
local h, l = unpack('>i4I4', head, SEEN - 16)
if before(h, l, sh, sl) then
  head = sub(head, 1, SEEN - 17) .. sub(v, SEEN, SEEN + 7) .. sub(head, SEEN - 8)
else
  if ARGV[6] == '' and due(v, flags, sh, sl, h, l) then
    return 'due'
  end
  if ih then
    ih, il = ih - sh + h, il - sl + l
  end
end
local limit = sub(v, LIMIT, LIMIT + 7)
if sub(head, LIMIT - 16, LIMIT - 9) ~= limit then
  h, l = unpack('>i4I4', head, LIMIT - 16)
  if (h == 0 and l == 0) or (eh and not before(h, l, eh, el)) then
    head = sub(head, 1, LIMIT - 17) .. limit .. sub(head, LIMIT - 8)
  else
    eh, el = h, l
  end
end

-- Parts that are not named stay.
local at = unpack('>I4', v, HEAD) + 1
if at <= FIXED or at > #v + 1 then
  return 'format'
end
local parts
if #ARGV < 7 then
  parts = sub(v, at)
else
  local change, kept = {}, {}
  for n = 7, #ARGV, 2 do
    change[ARGV[n]] = ARGV[n + 1]
  end
  while at <= #v do
    local name, sealed = unpack('>I2I3', v, at)
    local stop = at + 11 + name + sealed
    if not change[sub(v, at + 11, at + 10 + name)] then
      kept[#kept + 1] = sub(v, at, stop - 1)
    end
    at = stop
  end
  for _, part in pairs(change) do
    kept[#kept + 1] = part
  end
  parts = table.concat(kept)
end

local sequence = struct.pack('>I4', (unpack('>I4', v, 5) + 1) % 4294967296)
local new = sub(v, 1, 4) .. sequence .. sub(v, 9, 16) .. head .. parts
put(KEYS[1], KEYS[3], new, lifetime(flags, nh, nl, eh, el, ih, il, tonumber(ARGV[5])))
return 'ok'

-- Touch: KEYS epoch, records; ARGV keep, whether what they are found by has
-- been prolonged (empty: no), then the time for each. Returns the places of those that
-- have to be looked at first: because everything was revoked since they were created
-- (negative), or because what they are found by would be forgotten too early.
local epoch, keep, look = call('GET', KEYS[1]), tonumber(ARGV[1]), {}
for n = 2, #KEYS do
  local key, time = KEYS[n], ARGV[n + 1]
  local v = call('GETRANGE', key, 0, FIXED - 1)
  if #v == FIXED and byte(v, 17) == 1 then
    local flags = byte(v, FLAGS)
    local th, tl = unpack('>i4I4', time)
    local sh, sl, eh, el, ih, il = times(v)
    if bit.band(flags, ENDED + LOCKED) == 0 and before(sh, sl, th, tl)
      and not (eh and not before(th, tl, eh, el)) and not (ih and not before(th, tl, ih, il)) then
      if overtaken(v, epoch) then
        look[#look + 1] = 1 - n
      elseif ARGV[2] == '' and due(v, flags, sh, sl, th, tl) then
        look[#look + 1] = n - 1
      else
        call('SETRANGE', key, SEEN - 1, time)
        if ih then
          ih, il = ih - sh + th, il - sl + tl
        end
        local ms = lifetime(flags, th, tl, eh, el, ih, il, keep)
        if ms then
          call('PEXPIRE', key, ms)
        end
      end
    end
  end
end
return look

-- For scripts that look into values (value.go draws them). Times and durations are
-- eight bytes, big-endian, of nanoseconds; a Lua number cannot hold one, so that
-- each is two: the upper half and the lower.
local FLAGS, HEAD, CREATED, SEEN, DEADLINE, LIMIT, VERSION, FIXED = 18, 22, 58, 66, 90, 98, 122, 121
local IDLE_LOCKS, LOCKED, ENDED = 1, 2, 4
local unpack, sub, byte, call = struct.unpack, string.sub, string.byte, redis.call

local function before(ah, al, bh, bl)
  return ah < bh or (ah == bh and al < bl)
end

-- times returns when the session was seen last, when it ends in any case, and when
-- for want of activity; ends that there are not are nil.
local function times(v)
  local sh, sl, eh, el, lh, ll, ih, il = unpack('>i4I4xxxxxxxxxxxxxxxxi4I4i4I4i4I4', v, SEEN)
  if (lh ~= 0 or ll ~= 0) and ((eh == 0 and el == 0) or before(lh, ll, eh, el)) then
    eh, el = lh, ll
  end
  if eh == 0 and el == 0 then
    eh = nil
  end
  if ih < 0 or (ih == 0 and il == 0) then
    ih = nil
  else
    ih, il = ih + sh, il + sl
    if il >= 4294967296 then
      ih, il = ih + 1, il - 4294967296
    end
  end
  return sh, sl, eh, el, ih, il
end

-- between returns the milliseconds from a to b, roughly: for housekeeping.
local function between(ah, al, bh, bl)
  return ((bh - ah) * 4294967296 + (bl - al)) / 1000000
end

-- overtaken says whether everything was revoked since the session was created,
-- or last compared with that.
local function overtaken(v, epoch)
  return epoch and unpack('>I4', epoch) > unpack('>I4', v)
end

-- lifetime returns how long a value is kept from t on, in milliseconds; nil means
-- for ever.
local function lifetime(flags, th, tl, eh, el, ih, il, keep)
  if ih and flags % 2 ~= IDLE_LOCKS and not (eh and before(eh, el, ih, il)) then
    eh, el = ih, il
  end
  return eh and string.format('%.0f', math.max(0, between(th, tl, eh, el)) + keep)
end

-- due says whether what the session is found by must be kept for longer before it
-- is seen at t: on each new day since its creation. Where there is a deadline, or no
-- end at all, that was settled then.
local function due(v, flags, sh, sl, th, tl)
  local dh, dl, _, _, ih, il = unpack('>i4I4i4I4i4I4', v, DEADLINE)
  if dh ~= 0 or dl ~= 0 or flags % 2 == IDLE_LOCKS or ih < 0 or (ih == 0 and il == 0) then
    return false
  end
  local ch, cl = unpack('>i4I4', v, CREATED)
  return math.floor(between(ch, cl, sh, sl) / 86400000) < math.floor(between(ch, cl, th, tl) / 86400000)
end

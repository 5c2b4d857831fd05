-- For scripts that write.

-- lengthen makes a key last for a number of milliseconds, or for ever if that is
-- empty, but never less than it would anyway. A minute more or less is not worth a
-- write.
local function lengthen(key, new, ms)
  if ms == '' then
    redis.call('PERSIST', key)
  elseif new then
    redis.call('PEXPIRE', key, ms)
  else
    local left = redis.call('PTTL', key)
    if left >= 0 and left < tonumber(ms) - 60000 then
      redis.call('PEXPIRE', key, ms)
    end
  end
end

-- put stores a value and gives notice.
local function put(key, notice, v, ms)
  if ms and ms ~= '' then
    redis.call('SET', key, v, 'PX', ms)
  else
    redis.call('SET', key, v)
  end
  redis.call('SET', notice, '')
  redis.call('DEL', notice)
end

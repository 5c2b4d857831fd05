-- Look at a name: KEYS name. Returns the server's time and the fields.
local t = redis.call('TIME')
return { t[1] .. string.format('%03d', math.floor(tonumber(t[2]) / 1000)), redis.call('HGETALL', KEYS[1]) }

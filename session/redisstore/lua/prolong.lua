-- Prolong what sessions are found by: KEYS; ARGV how long to keep them.
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    lengthen(key, false, ARGV[1])
  end
end
return 'ok'

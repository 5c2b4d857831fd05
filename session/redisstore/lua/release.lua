-- Take a session away from a name: KEYS name; ARGV handle.
redis.call('HDEL', KEYS[1], ARGV[1])
return 'ok'

-- epoch: since when the store remembers everything.
-- KEYS[1]  the tag
-- ARGV[1]  when the caller asked last, 0 if never   ARGV[2]  now
-- returns  the epoch; a new one when the store is empty, or does not know of the last time
local life = KEYS[1] .. 'life'
local created, beat = unpack(redis.call('HMGET', life, 'created', 'beat'))
if not created or tonumber(beat) < tonumber(ARGV[1]) then
  redis.call('HSET', life, 'created', ARGV[2], 'empty', created and 0 or 1, 'beat', ARGV[2])
  return ARGV[2]
end
if tonumber(beat) < tonumber(ARGV[2]) then redis.call('HSET', life, 'beat', ARGV[2]) end
return created

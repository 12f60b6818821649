-- seed: raise what is spent of each budget to what is known elsewhere.
-- KEYS[1]  the tag
-- ARGV[1]  msgpack: {{meter, nanos, ends}}
-- returns  1
local tag = KEYS[1]
local whole = function(n) return n == 0 and '0' or string.format('%.0f', n) end  -- no -0
for _, one in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = tag .. 'b:' .. one[1]
  if tonumber(redis.call('HGET', key, 's') or 0) < one[2] then
    redis.call('HSET', key, 's', whole(one[2]))
    redis.call('EXPIREAT', key, whole(one[3] + 604800))
  end
end
return 1

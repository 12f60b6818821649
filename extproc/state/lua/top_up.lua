-- top_up: reserve more money in every budget of a hold, or in none, and extend it.
-- KEYS[1]  the tag
-- ARGV[1]  msgpack: {id, nanos, expires, limits}; limits by claim, -1 for no budget
-- returns  1, or 0 when a budget has not so much left or there is no such hold
local tag = KEYS[1]
local id, nanos, expires, limits = unpack(cmsgpack.unpack(ARGV[1]))
local hold = tag .. 'h:' .. id
local whole = function(n) return n == 0 and '0' or string.format('%.0f', n) end  -- no -0
local stored = redis.call('GET', hold)
if not stored then return 0 end
local state, reserved = unpack(cmsgpack.unpack(stored))
if state ~= 'held' then return 0 end
if nanos > 0 then
  for number, limit in ipairs(limits) do
    if limit >= 0 then
      local money = redis.call('HMGET', tag .. 'b:' .. reserved[number][2], 's', 'h')
      if tonumber(money[1] or 0) + tonumber(money[2] or 0) + nanos > limit then
        return 0
      end
    end
  end
  for number, limit in ipairs(limits) do
    if limit >= 0 then
      local one = reserved[number]
      redis.call('HINCRBY', tag .. 'b:' .. one[2], 'h', whole(nanos))
      one[3] = whole(tonumber(one[3]) + nanos)
    end
  end
  redis.call('SET', hold, cmsgpack.pack({state, reserved}))
end
redis.call('ZADD', tag .. 'due', expires, id)
return 1

-- expire: charge the holds whose time is over as they are.
-- KEYS[1]  the tag
-- ARGV[1]  now   ARGV[2]  most at once   ARGV[3]  seconds that they can be corrected for
-- returns  how many there were
local tag = KEYS[1]
local whole = function(n) return n == 0 and '0' or string.format('%.0f', n) end  -- no -0
local due = redis.call('ZRANGEBYSCORE', tag .. 'due', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
local expired = 0
for _, id in ipairs(due) do
  local hold = tag .. 'h:' .. id
  local stored = redis.call('GET', hold)
  if stored then
    local state, reserved = unpack(cmsgpack.unpack(stored))
    if state == 'held' then
      for _, one in ipairs(reserved) do
        local kind, meter, amount = one[1], one[2], tonumber(one[3])
        if kind == 'b' then
          redis.call('HINCRBY', tag .. 'b:' .. meter, 'h', whole(-amount))
          redis.call('HINCRBY', tag .. 'b:' .. meter, 's', whole(amount))
        elseif kind == 'c' then
          if redis.call('DECRBY', tag .. 'c:' .. meter, whole(amount)) == 0 then
            redis.call('DEL', tag .. 'c:' .. meter)
          end
        end
      end
      redis.call('SET', hold, cmsgpack.pack({'expired', reserved}), 'EX', ARGV[3])
      expired = expired + 1
    end
  end
  redis.call('ZREM', tag .. 'due', id)
end
return expired

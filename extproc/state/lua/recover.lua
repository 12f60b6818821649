-- recover: take back what the store had before its epoch.
-- KEYS[1]  the tag
-- ARGV[1]  msgpack: {sums, holds}
--   sums     {{meter, nanos, ends}}: the most that anybody knows of counts, what was
--            charged in this epoch comes on top
--   holds    {{id, expires, claims}} as for admit; those that are known stay as they are
-- returns  1
local tag = KEYS[1]
local sums, holds = unpack(cmsgpack.unpack(ARGV[1]))
local created, empty = unpack(redis.call('HMGET', tag .. 'life', 'created', 'empty'))
local known = 'k' .. (created or '')
local whole = function(n) return n == 0 and '0' or string.format('%.0f', n) end  -- no -0

for _, one in ipairs(sums) do
  local key = tag .. 'b:' .. one[1]
  local before = redis.call('HGET', key, known)
  if not before then
    -- What an older copy of the data has is not on top of what is known.
    before = empty == '1' and 0 or redis.call('HGET', key, 's') or 0
  end
  local more = one[2] - tonumber(before)
  if more > 0 then
    redis.call('HINCRBY', key, 's', whole(more))
    redis.call('HSET', key, known, whole(one[2]))
    redis.call('EXPIREAT', key, whole(one[3] + 604800))
  end
end

for _, one in ipairs(holds) do
  local hold = tag .. 'h:' .. one[1]
  if redis.call('EXISTS', hold) == 0 then
    local reserved = {}
    for _, claim in ipairs(one[3]) do
      local kind, meter, amount, slot = claim[1], claim[2], claim[4], claim[5]
      if kind == 'w' then
        local key = tag .. 'w:' .. meter
        redis.call('HINCRBY', key, whole(slot), whole(amount))
        redis.call('EXPIRE', key, whole(2 * claim[6]))
      elseif kind == 'b' then
        local key = tag .. 'b:' .. meter
        redis.call('HINCRBY', key, 'h', whole(amount))
        redis.call('EXPIREAT', key, whole(claim[7] + 604800))
      else
        redis.call('INCRBY', tag .. 'c:' .. meter, whole(amount))
      end
      reserved[#reserved + 1] = {kind, meter, whole(amount), whole(slot)}
    end
    redis.call('SET', hold, cmsgpack.pack({'held', reserved}))
    redis.call('ZADD', tag .. 'due', one[2], one[1])
  end
end
return 1

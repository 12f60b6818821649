-- admit: reserve every claim, or none.
-- KEYS[1]  the tag that every key begins with, so that all of them are in one slot
-- ARGV[1]  msgpack: {id, expires, claims}
--   claims   {{kind, meter, limit, amount, slot, seconds, ends}}; kind: w b c
-- returns  {1, remaining, last slot (of a budget: spent), of each claim} or
--          {0, number of the claim, remaining, last slot, slot that must be over or -1,
--           whether only reservations are in a budget's way}
local tag = KEYS[1]
local id, expires, claims = unpack(cmsgpack.unpack(ARGV[1]))
local hold = tag .. 'h:' .. id
local SLOTS, AHEAD = 60, 1
local known = redis.call('EXISTS', hold) == 1
local reply = {1}
local whole = function(n) return n == 0 and '0' or string.format('%.0f', n) end  -- no -0

for number, claim in ipairs(claims) do
  local kind, meter, limit, amount, slot = claim[1], claim[2], claim[3], claim[4], claim[5]
  local used, last, spent = 0, 0, limit
  local slots = {}
  if known then amount = 0 end
  if kind == 'w' then
    local key = tag .. 'w:' .. meter
    local stored = redis.call('HGETALL', key)
    for i = 1, #stored, 2 do
      local at, taken = tonumber(stored[i]), tonumber(stored[i + 1])
      if at < slot - SLOTS then
        redis.call('HDEL', key, stored[i])
      else
        if at > slot + AHEAD then
          -- By a clock that was ahead: it counts from now on.
          redis.call('HDEL', key, stored[i])
          redis.call('HINCRBY', key, whole(slot), stored[i + 1])
          at = slot
        end
        used = used + taken
        if at > last then last = at end
        slots[#slots + 1] = {at, taken}
      end
    end
    if slot > last then last = slot end
  elseif kind == 'b' then
    local money = redis.call('HMGET', tag .. 'b:' .. meter, 's', 'h')
    spent = tonumber(money[1] or 0)
    used = spent + tonumber(money[2] or 0)
    last = spent
  else
    used = tonumber(redis.call('GET', tag .. 'c:' .. meter) or 0)
  end
  local remaining = limit - used - amount
  if remaining < 0 and amount > 0 then
    local over = -1
    if kind == 'w' and amount <= limit then
      table.sort(slots, function(a, b) return a[1] < b[1] end)
      local left = used
      for _, one in ipairs(slots) do
        left = left - one[2]
        over = one[1]
        if left + amount <= limit then break end
      end
    end
    local waiting = kind == 'b' and spent + amount <= limit
    return {0, number - 1, whole(math.max(0, limit - used)), whole(last), whole(over),
      waiting and 1 or 0}
  end
  reply[#reply + 1] = whole(math.max(0, remaining))
  reply[#reply + 1] = whole(last)
end
if known then return reply end

local reserved = {}
for _, claim in ipairs(claims) do
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
redis.call('ZADD', tag .. 'due', expires, id)
return reply

-- settle: charge what was used instead of what was reserved; a release uses nothing.
-- KEYS[1]  the tag
-- ARGV[1]  msgpack: {id, seconds to remember it, claims}
--   claims   {{kind, meter, used, slot now, seconds, ends}} as admitted
-- returns  what is charged now to the budget of each claim, or 0 for another claim;
--          nothing when it was settled before
local tag = KEYS[1]
local id, keep, claims = unpack(cmsgpack.unpack(ARGV[1]))
local hold = tag .. 'h:' .. id
local SLOTS, AHEAD = 60, 1
local whole = function(n) return n == 0 and '0' or string.format('%.0f', n) end  -- no -0
local state, reserved, charged = 'lost', {}, {}
local stored = redis.call('GET', hold)
if stored then
  state, reserved = unpack(cmsgpack.unpack(stored))
  if state == 'settled' then return {} end
end

for number, claim in ipairs(claims) do
  local kind, meter, used, slot = claim[1], claim[2], claim[3], claim[4]
  local held, taken_in = 0, slot
  charged[number] = 0
  if reserved[number] then
    held, taken_in = tonumber(reserved[number][3]), tonumber(reserved[number][4])
  end
  if kind == 'w' then
    local key = tag .. 'w:' .. meter
    local difference = used - held
    if taken_in > slot + AHEAD then
      -- By a clock that was ahead: it may have been set back since.
      taken_in = 0
      for _, at in ipairs(redis.call('HKEYS', key)) do
        taken_in = math.max(taken_in, tonumber(at))
      end
    end
    if difference ~= 0 then
      if state ~= 'lost' and taken_in >= slot - SLOTS
        and redis.call('HEXISTS', key, whole(taken_in)) == 1 then
        redis.call('HINCRBY', key, whole(taken_in), whole(difference))
      elseif difference > 0 then
        redis.call('HINCRBY', key, whole(slot), whole(difference))
        redis.call('EXPIRE', key, whole(2 * claim[5]))
      end
    end
  elseif kind == 'b' then
    local key = tag .. 'b:' .. meter
    if state == 'held' then
      redis.call('HINCRBY', key, 'h', whole(-held))
      redis.call('HINCRBY', key, 's', whole(used))
    else
      redis.call('HINCRBY', key, 's', whole(used - held))
    end
    charged[number] = redis.call('HGET', key, 's')
    redis.call('EXPIREAT', key, whole(claim[6] + 604800))
  elseif state == 'held' then
    if redis.call('DECRBY', tag .. 'c:' .. meter, whole(held)) == 0 then
      redis.call('DEL', tag .. 'c:' .. meter)
    end
  end
end
redis.call('SET', hold, cmsgpack.pack({'settled', {}}), 'EX', whole(keep))
redis.call('ZREM', tag .. 'due', id)
return charged

-- meet: leave word of how a worker's deployments do, and hear what the others have left.
-- KEYS[1]  the tag
-- ARGV[1]  msgpack: {id, revision, milliseconds that it is believed for, known,
--           milliseconds of a lease, want, keep, drop}
--   known    {id = revision} of the others, as they were heard last
--   want, keep, drop   deployments: that it would try, that it is trying, that it has tried
-- ARGV[2]  what it says, of this revision
-- returns  {ids of all others that are believed, {id, revision, milliseconds old, text} of
--           each that says something new, deployments of `want` that it alone may try}
local tag = KEYS[1]
local id, revision, kept, known, lease, want, keep, drop = unpack(
  cmsgpack.unpack(ARGV[1]))
local peers = tag .. 'peers'
redis.call('SET', tag .. 'l:' .. id, cmsgpack.pack({revision, ARGV[2]}), 'PX', kept)
redis.call('SADD', peers, id)
redis.call('PEXPIRE', peers, kept)
local present, news = {}, {}
for _, peer in ipairs(redis.call('SMEMBERS', peers)) do
  if peer ~= id then
    local key = tag .. 'l:' .. peer
    local stored = redis.call('GET', key)
    if stored then
      local its, said = unpack(cmsgpack.unpack(stored))
      present[#present + 1] = peer
      if known[peer] ~= its then
        news[#news + 1] = {peer, its, kept - redis.call('PTTL', key), said}
      end
    else
      redis.call('SREM', peers, peer)
    end
  end
end

local claim = function(deployment)
  local key = tag .. 't:' .. deployment
  local holder = redis.call('GET', key)
  if holder and holder ~= id then return false end
  redis.call('SET', key, id, 'PX', lease)
  return true
end
local granted = {}
for _, deployment in ipairs(drop) do
  local key = tag .. 't:' .. deployment
  if redis.call('GET', key) == id then redis.call('DEL', key) end
end
for _, deployment in ipairs(keep) do claim(deployment) end
for _, deployment in ipairs(want) do
  if claim(deployment) then granted[#granted + 1] = deployment end
end
return {present, news, granted}

-- meet: leave word of how a worker's deployments do, and hear what the others have left.
-- KEYS[1]  the tag
-- ARGV[1]  msgpack: {id, revision, milliseconds that it is believed for, known}
--   known    {id = revision} of the others, as they were heard last
-- ARGV[2]  what it says, of this revision
-- returns  {ids of all others that are believed, {id, revision, milliseconds old, text} of
--           each that says something new}
local tag = KEYS[1]
local id, revision, kept, known = unpack(cmsgpack.unpack(ARGV[1]))
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
return {present, news}

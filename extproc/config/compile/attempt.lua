local function has(text, words)
  for _, word in ipairs(words) do
    if text:find(word, 1, true) then return true end
  end
  return false
end

local function wait(hd)
  local ms = hd:get("retry-after-ms")
  if ms ~= nil then return "ms " .. ms end
  local said = hd:get("retry-after")
  if said ~= nil then return said end
  for _, what in ipairs({ "requests", "tokens" }) do
    if hd:get("x-ratelimit-remaining-" .. what) == "0" then
      return "reset " .. (hd:get("x-ratelimit-reset-" .. what) or "-")
    end
  end
  return "-"
end

function envoy_on_request(h)
  local hd, dm = h:headers(), h:streamInfo():dynamicMetadata()
  local n = hd:get("x-envoy-attempt-count") or "1"
  local t = dm:get("gw.t" .. n)
  if t ~= nil and has(t["flags"] or "", { "c" }) then
    local att = dm:get("gw.att")
    if att == nil or att["refused"] ~= tostring(tonumber(n) - 1) then
      h:respond({ [":status"] = "503" }, "")
      return
    end
  end
  dm:set("gw.att", "n", n)
  dm:set("gw.att", "t" .. n, h:timestamp())
  for _, k in ipairs(credentials) do hd:remove(k) end
  if t == nil then return end
  hd:replace(":path", t["path"])
  hd:replace(":authority", t["host"])
  for _, k in ipairs(t["del"] or {}) do hd:remove(k) end
  for k, v in pairs(t["set"] or {}) do hd:replace(k, v) end
  if t["body"] == nil then return end
  local b = h:body(true)
  if b ~= nil then b:setBytes(t["body"]) end
end

function envoy_on_response(h)
  local hd, dm = h:headers(), h:streamInfo():dynamicMetadata()
  local status = tonumber(hd:get(":status"))
  if status < 400 then return end
  local att = dm:get("gw.att")
  local n = att and att["n"] or "0"
  dm:set("gw.att", "a" .. n, status .. " " .. wait(hd))
  local t = dm:get("gw.t" .. n)
  local flags = t and t["flags"] or ""
  if flags == "" then return end
  if has(flags, { "k" }) and (status == 401 or status == 402 or status == 403) then
    hd:replace("x-gw-retry", "1")
    return
  end
  if has(flags, { "x", "p" }) and (status == 400 or status == 413 or status == 422) then
    local b = h:body()
    local text = b and b:getBytes(0, math.min(b:length(), 65536)):lower() or ""
    -- Waiting for the body has ended the life of what was held before.
    hd, dm = h:headers(), h:streamInfo():dynamicMetadata()
    if (has(flags, { "x" }) and has(text, too_long))
        or (has(flags, { "p" }) and has(text, forbidden)) then
      dm:set("gw.att", "refused", n)
      hd:replace("x-gw-retry", "1")
      return
    end
  end
  if has(flags, { "l" }) then hd:replace("x-envoy-ratelimited", "true") end
end

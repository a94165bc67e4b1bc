-- Settles what was put aside under tokens. A token that is not there was settled before, or is of an earlier day.
--
-- KEYS[1]: the hash of the budget. ARGV: token, what was spent; and so on.
-- Returns how many were settled.
local key, settled = KEYS[1], 0
local had = redis.call('HMGET', key, 'd', 'ds', 'dr', 'h', 'hs', 'hr')
if not had[1] then return 0 end
local function number(at) return tonumber(had[at] or 0) end
local ds, dr, hs, hr = number(2), number(3), number(5), number(6)
for at = 1, #ARGV, 2 do
  local field = 'r' .. ARGV[at]
  local made = redis.call('HGET', key, field)
  if made then
    local day, hour, amount = string.match(made, '^(%d+):(%d+):(%d+)$')
    local spent = tonumber(ARGV[at + 1])
    amount = tonumber(amount)
    redis.call('HDEL', key, field)
    settled = settled + 1
    if day == had[1] then ds, dr = ds + spent, math.max(0, dr - amount) end
    if hour == had[4] then hs, hr = hs + spent, math.max(0, hr - amount) end
  end
end
if settled > 0 then
  local function text(n) return string.format('%.0f', n) end
  redis.call('HSET', key, 'ds', text(ds), 'dr', text(dr), 'hs', text(hs), 'hr', text(hr))
end
return settled

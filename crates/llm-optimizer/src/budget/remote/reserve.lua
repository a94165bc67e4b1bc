-- Rolls the budget to the server's day and hour, puts an amount aside if it fits, and tells how things stand.
--
-- KEYS[1]: a hash.
--   i: which life of the hash this is; a hash that is made anew, because the server has lost it, has another.
--   d, ds, dr, db: the day's number, what is settled, what is put aside, and what was gone before this life.
--   h, hs, hr, hb: the same of the hour.
--   r<token>: what is put aside under a token, as day:hour:amount.
-- ARGV: token, amount (below 0 to look alone), limit of the day, limit of the hour (below 0 for none), and what the
--   caller knew: life, day, gone of the day, hour, gone of the hour.
-- Returns 1 or 0, whether the amount is put aside, the server's second, life, d, ds, dr, h, hs, hr.
local key, token = KEYS[1], ARGV[1]
local amount, daily, hourly = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(redis.call('TIME')[1])
local day, hour = math.floor(now / 86400), math.floor(now / 3600)

local had = redis.call('HMGET', key, 'i', 'd', 'ds', 'dr', 'db', 'h', 'hs', 'hr', 'hb')
local life = had[1]
local function number(at) return tonumber(had[at] or 0) end
-- A clock that is set back does not give the money a second time.
day, hour = math.max(day, number(2)), math.max(hour, number(6))
local ds, dr, db = number(3), number(4), number(5)
local hs, hr, hb = number(7), number(8), number(9)
if not life or day > number(2) then
  redis.call('DEL', key)
  life, ds, dr, db = token, 0, 0, 0
end
if hour > number(6) then
  hs, hr, hb = 0, 0, 0
end

-- Whoever knows of an earlier life of the same day adds what the others did not know to be gone.
if ARGV[5] ~= life then
  if tonumber(ARGV[6]) == day then
    local more = math.max(0, tonumber(ARGV[7]) - db)
    ds, db = ds + more, db + more
  end
  if tonumber(ARGV[8]) == hour then
    local more = math.max(0, tonumber(ARGV[9]) - hb)
    hs, hb = hs + more, hb + more
  end
end

local fits = 0
if amount >= 0 and (daily < 0 or ds + dr + amount <= daily) and (hourly < 0 or hs + hr + amount <= hourly) then
  fits, dr, hr = 1, dr + amount, hr + amount
  redis.call('HSET', key, 'r' .. token, string.format('%.0f:%.0f:%.0f', day, hour, amount))
end

local function text(n) return string.format('%.0f', n) end
redis.call('HSET', key, 'i', life, 'd', text(day), 'ds', text(ds), 'dr', text(dr), 'db', text(db),
  'h', text(hour), 'hs', text(hs), 'hr', text(hr), 'hb', text(hb))
redis.call('EXPIRE', key, 172800)
return {text(fits), text(now), life, text(day), text(ds), text(dr), text(hour), text(hs), text(hr)}

-- Tables, metatables, sorting, closures, strings and their patterns.
local function show(name, ...) print(name, ...) end

local words = {}
for word in ("the quick brown fox jumps over the lazy dog again and again"):gmatch("%a+") do words[#words + 1] = word end
table.sort(words, function(a, b) return #a < #b or (#a == #b and a < b) end)
show("sorted", table.concat(words, " "))
show("moved", table.concat(table.move(words, 2, 6, 1), ","))
table.insert(words, 3, "new")
show("removed", table.remove(words, 1), table.remove(words), #words, select("#", table.unpack(words, 1, 4)))

local Point = {}
Point.__index = Point
Point.__add = function(a, b) return setmetatable({x = a.x + b.x, y = a.y + b.y}, Point) end
Point.__eq = function(a, b) return a.x == b.x and a.y == b.y end
Point.__lt = function(a, b) return a.x < b.x end
Point.__le = function(a, b) return a.x <= b.x end
Point.__tostring = function(p) return "(" .. p.x .. ";" .. p.y .. ")" end
Point.__concat = function(a, b) return tostring(a) .. tostring(b) end
Point.__len = function(p) return p.x end
Point.__call = function(p, n) return p.x * n end
Point.__unm = function(p) return setmetatable({x = -p.x, y = -p.y}, Point) end
Point.__close = function(p) show("closed", tostring(p)) end
local function point(x, y) return setmetatable({x = x, y = y}, Point) end
local p, q = point(1, 2), point(3, 4)
show("point", tostring(p + q), p == q, p < q, p <= q, p .. q, #q, q(7), tostring(-p))
do local c <close> = p local k <const> = 5 show("inside", k) end

show("format", string.format("%5d|%-8s|%08.3f|%x|%q|%g|%c|%i|%a", 42, "ab", 3.14159, 255, "a\n\0b", 1e100, 65, -7, 1.0))
show("find", ("hello world"):find("o w"), ("hello"):find("l+"), ("a.b"):find(".", 1, true), ("x = 10"):match("(%w+)%s*=%s*(%d+)"))
show("gsub", ("hello world"):gsub("o", "0"), ("abc"):gsub("%w", "%0%0"), ("abc"):gsub("", "-"), ("$x $y"):gsub("%$(%w)", {x = 1}))
show("bytes", ("ABC"):byte(1, -1), string.char(72, 105), ("abc"):rep(3, "-"), ("abc"):reverse(), ("aBc"):upper(), ("aBc"):lower(), ("abcdef"):sub(-3, -2))
show("frontier", ("THE (quick) fox"):gsub("%f[%a]%a+", function(w) return #w .. "" end), ("f(a(b)c)d"):match("%b()"))
show("pack", string.pack("<i4 z s1 d", 7, "ab", "cde", 0.5):byte(1, -1))
show("unpack", string.unpack("<i4 z s1", string.pack("<i4 z s1", -7, "ab", "cde")))
show("utf8", utf8.char(228, 8364, 128512), utf8.len("äöü"), utf8.codepoint("aä", 1, -1), utf8.offset("aäb", 3))

local sum = 0
for key, value in pairs({10, 20, 30, x = 1, y = 2}) do sum = sum + value end
for i, v in ipairs({5, 6, nil, 7}) do sum = sum + i * v end
show("sum", sum, next({}), rawlen({1, 2}), rawequal(p, p), rawget(p, "x"))
local weak = setmetatable({}, {__mode = "k"})
weak[{}] = 1
collectgarbage()
show("weak", next(weak))

-- Errors, coroutines, loops, integer and float arithmetic, goto, variable arguments, code that is loaded.
local function try(name, f, ...) print(name, pcall(f, ...)) end

try("index", function() local t; return t.x end)
try("call", function() local t = {} ; t.f() end)
try("arith", function() return {} + 1 end)
try("concat", function() return "a" .. {} end)
try("compare", function() return 1 < "2" end)
try("for", function() for i = 1, 10, 0 do end end)
try("error", error, {code = 1} and "plain", 0)
try("argument", string.rep)
try("argument", ("x").rep, "x", {})
try("integer", function() return 1 // 0 end)
try("convert", function() return 2^53 | 0.5 end)
print(select(2, xpcall(function() error("deep") end, function(m) return "handled: " .. m end)))
print(pcall(load, "x = ", "chunk"))
print(load("return 1 +", "=text"))
print(load("for i = 1 do end", "=text"))
print(load("goto nowhere", "=text"))
print(load("local x <const> = 1; x = 2", "=text"))
print(load("return '\\q'", "=text"))
print(load("break", "=text"))
print(load("return 0x, 1", "=text"))
print(load("return ...", "=text", "t", {})(1, 2, 3))
print(load(string.dump(function(a, b) local c = {a, b, "text", 1.5, 7} return #c, c[3] end), "=dumped", "b")(1, 2))

local function numbers(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i, i * i) end return "done" end) end
local step = numbers(3)
print(step()) print(step()) print(step()) print(step()) print(pcall(step))
local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) error("in it " .. b) end)
print(coroutine.resume(co, 1)) print(coroutine.status(co), coroutine.isyieldable()) print(coroutine.resume(co, 5)) print(coroutine.status(co))
print(coroutine.close(coroutine.create(print)))

print(7 // 2, -7 // 2, 7 % -3, -7 % 3, 7.5 // 2, -7.5 % 2, 1e15, 2^31, 10 / 2, 3 | 4, 5 & 6, 5 ~ 3, ~0, 1 << 62, 1 >> 1, -1 >> 60)
print(math.maxinteger + 1 == math.mininteger, math.tointeger(3.0), math.type(1), math.type(1.0), math.type("1"), math.ult(1, -1))
print(math.floor(-3.5), math.ceil(3.2), math.fmod(7, 3), math.abs(-4), math.max(3, 9, 2), math.min(3, 9, 2), math.sqrt(16), math.huge, -math.huge, math.pi)
print(tonumber("0x1p4"), tonumber("10", 2), tonumber("zz", 36), tonumber("1e"), tonumber("  12  "), tonumber("0x"), "10" + 5, "3" * "4", 10 .. 20)
print(string.format("%.14g %.3f %5.1f", 0.1, 1 / 3, 2.25), 1e300 * 1e10, -(0 / 0) ~= -(0 / 0), 3 == 3.0, 255 // 1 | 0)

local function sum(...) local s = 0 for i = 1, select("#", ...) do s = s + (select(i, ...)) end return s, ... end
print(sum(1, 2, 3), (sum(4, 5)))
for i = 10, 1, -3 do io.write(i, " ") end
for x = 0.0, 1.0, 0.25 do io.write(x, " ") end
local i = 0
while true do i = i + 1 if i % 2 == 0 then goto continue end if i > 7 then break end io.write("w", i, " ") ::continue:: end
repeat local done = i > 10 i = i + 1 until done
print(i, #arg, type(os.time()), os.date("!%Y-%m-%d", 86400), os.getenv("NO_SUCH_NAME"), io.type(io.stdout), tostring(nil))

local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
local function ack(m, n) if m == 0 then return n + 1 elseif n == 0 then return ack(m - 1, 1) end return ack(m - 1, ack(m, n - 1)) end
print(fib(20), ack(2, 5))
local file = io.open("written", "w")
file:write("one\n", 2, "\n", 3.5, "\nlast") file:close()
for line in io.lines("written") do io.write("[", line, "]") end
file = io.open("written") print(file:read("l", "n", "n", "a")) print(file:seek("set", 2), file:read(3)) file:close()
print(pcall(io.lines, "missing"), io.open("missing"))
io.stderr:write("to the other stream\n")
print(debug.getinfo(1, "l").currentline, debug.traceback("trace", 1))
local garbage = {}
for n = 1, 3000 do garbage[n % 100] = {n, tostring(n), function() return n end} end
print(garbage[7][2], garbage[99][3](), require("string") == string, package.config:sub(1, 1))
error({})

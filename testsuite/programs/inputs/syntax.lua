local x = 1
print(x, _VERSION)
local function f() return 1, 2
if then

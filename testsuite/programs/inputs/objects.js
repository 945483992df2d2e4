// Objects, arrays, strings, closures, regular expressions, JSON and dates.
function Point(x, y) { this.x = x; this.y = y; }
Point.prototype.plus = function (o) { return new Point(this.x + o.x, this.y + o.y); };
Point.prototype.toString = function () { return "(" + this.x + ";" + this.y + ")"; };
var p = new Point(1, 2), q = new Point(3, 4);
print(p.plus(q), p instanceof Point, typeof p, "x" in p, delete p.x, p.x, Object.keys(q));

var a = [5, 3, 9, 1, 7, 20, 100];
print(a.sort(), a.sort(function (x, y) { return x - y; }), a.slice(1, 3), a.splice(1, 2, "new", "ones"), a, a.length);
print(a.map(function (x) { return x + "!"; }), a.filter(function (x) { return x > 5; }), a.reduce(function (s, x) { return s + x; }, ""), a.indexOf(7), a.lastIndexOf(99));
print([1, 2, 3].concat([4, [5]]), [3, 2, 1].reverse(), [1, , 3].join("-"), [].pop(), [1, 2].shift(), [1].unshift(0), Array.isArray([]), a.some(isNaN), a.every(isNaN));
for (var k in { one: 1, two: 2, three: 3 }) print(k);
Object.defineProperty(q, "hidden", { get: function () { return 42; }, set: function (v) { print("set " + v); }, enumerable: false });
q.hidden = 7;
print(q.hidden, JSON.stringify(q), Object.getOwnPropertyNames(q), Object.isFrozen(Object.freeze({})), Object.create(p).y);

print("hello world".replace(/o/g, "0"), "a-b-c".split("-"), "abc".charAt(1), "abc".charCodeAt(2), "Hello".toUpperCase(), "  trim ".trim() + "|", "abcdef".substring(2, 4), "abc".indexOf("c"));
print(/(\d+)-(\d+)/.exec("tel 12-34 x"), /^[a-z]+$/i.test("Word"), "x1y22".match(/\d+/g), "aXbX".replace(/X/g, function (m, at) { return at; }), "one two".search(/t/), /a{2,3}?b|(?:c)(?!d)/.exec("aaab"));
print("äöü".length, encodeURIComponent("ä b&c"), decodeURIComponent("%C3%A4"), String.fromCharCode(72, 105), "b".localeCompare("a"));
print(JSON.stringify({ a: [1, "two", null, true, { b: 1.5 }], c: "q\"\n" }), JSON.stringify([1, [2]], null, 2), JSON.parse('{"x":[1,2,{"y":"z"}]}').x[2].y);
print(new Date(0).toISOString(), new Date(Date.UTC(2020, 1, 29, 12, 30, 15)).toJSON(), Date.UTC(1999, 11, 31), new Date(NaN).getTime());

function counter() { var n = 0; return { up: function () { return ++n; }, down: function () { return --n; } }; }
var c = counter(); c.up(); c.up(); c.down();
print(c.up(), (function () { return arguments.length + arguments[1]; })(1, 2, 3), counter.name, counter.length, print.call(null, "called"), Math.max.apply(null, [1, 5, 3]));
print(p, String(null), String(undefined), String([1, [2, 3]]), String({}), String(function f(a) { return a + 1; }));
print(repr({ a: 1, b: [1, "2"], 'c d': null }));

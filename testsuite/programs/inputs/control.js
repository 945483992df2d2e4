// Numbers, control flow, exceptions, and texts that don't compile.
print(1 / 3, 0.1 + 0.2, 1e21, 123456789012345680000, -0, 1 / -0, NaN, 5 % 3, -5 % 3, 2 << 30, -1 >>> 28, -9 >> 1, 6 & 3, 6 | 3, 6 ^ 3, ~6);
print((255).toString(16), (0.5).toString(2), (1234.5678).toFixed(2), (0.00001).toPrecision(3), (12345).toExponential(2), parseInt("12px"), parseInt("ff", 16), parseFloat("3.5e2x"), Number("0x1f"), +"", +"x");
print(Math.floor(-1.5), Math.round(2.5), Math.pow(2, 10), Math.sqrt(2), Math.abs(-3), Math.min(1, -1), Math.atan2(1, 1), Math.exp(1), Math.log(10), Math.ceil(1.2));
print(1 == "1", 1 === "1", null == undefined, NaN == NaN, "a" < "b", [2] > 1, !"", !!"0", void 0, (1, 2), true + 1, "5" * "2", "5" + 2, typeof null, typeof print, typeof missing);

function attempt(name, f) { try { print(name, f()); } catch (e) { print(name, "threw", e); } finally { print(name, "done"); } }
attempt("reference", function () { return missing; });
attempt("type", function () { return null.x; });
attempt("call", function () { return (1)(); });
attempt("range", function () { return new Array(-1); });
attempt("own", function () { throw { toString: function () { return "own"; } }; });
attempt("syntax", function () { return eval("1 +"); });
attempt("syntax", function () { return eval("var 1;"); });
attempt("syntax", function () { return eval("'abc"); });
attempt("syntax", function () { return eval("break;"); });
attempt("syntax", function () { return new RegExp("(a"); });
attempt("syntax", function () { return new RegExp("[z-a]"); });
attempt("syntax", function () { return JSON.parse("{x}"); });
attempt("uri", function () { return decodeURI("%E0%A4%A"); });
attempt("deep", function () { function f(n) { return n ? 1 + f(n - 1) : 0; } return f(50); });
attempt("eval", function () { return eval("var t = 3; t * 7"); });
attempt("function", function () { return new Function("a", "b", "return a * b")(6, 7); });
attempt("strict", function () { "use strict"; return Object.freeze([1]).length; });
attempt("nested", function () { try { throw 1; } catch (e) { try { throw e + 1; } finally { print("inner"); } } });

outer: for (var i = 0; i < 5; i++) { for (var j = 0; j < 5; j++) { if (j == 3) continue outer; if (i == 3) break outer; if ((i + j) % 2) print(i, j); } }
var n = 0; do { n += 2; } while (n < 9); while (n-- > 7); print(n);
for (var i = 0, text = ""; i < 8; ++i) { switch (i) { case 1: text += "one "; break; case 2: case 3: text += "few "; case 4: text += "through "; break; default: text += i + " "; } }
print(text, i ? "yes" : "no", i > 3 && "and", i < 3 || "or");
with ({ w: 5 }) { print(w); }
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
print(fib(17));
var sieve = [], primes = []; for (var i = 2; i < 120; i++) { if (!sieve[i]) { primes.push(i); for (var j = i * i; j < 120; j += i) sieve[j] = true; } } print(primes);
var garbage = []; for (var i = 0; i < 20000; i++) garbage[i % 50] = { n: i, s: "text " + i, f: function () { return i; } }; print(garbage[7].n, garbage[9].s); gc();
var get = { get x() { return "got"; }, set x(v) { print("setting", v); } }; get.x = 1; print(get.x);
throw new RangeError("at the end");

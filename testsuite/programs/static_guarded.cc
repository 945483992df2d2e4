// Static objects of functions, set up at their first use: a new one with its guard, one whose construction throws at first, one that was set
// up before the patch and isn't again.
//#Hazard: D2,D10,C8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Expect[kind=nopie]: safe
//#Warm: old 7
//#After: old 9 => 7 (new)
//#After: fresh 1 => failed
//#After: fresh 2 => 2 1
//#After: fresh 3 => 2 1
//#Reverted: old 11 => 7
#include "scenario.h"
#include <map>
#include <stdexcept>
#include <string>

struct Slow {
    int value;
    std::string text;
    explicit Slow(int v) : value(v), text(std::to_string(v)) {
        if (v == 1)
            throw std::runtime_error("not yet");
    }
};

NOINLINE int old_one(int value) {
    static Slow kept(value);
    return kept.value;
}

NOINLINE void fresh(int value) {
    try {
#ifdef NEW
        static Slow made(value);
        static std::map<std::string, int> seen{{"first", value}};
        printf("%d %zu\n", made.value, seen.size());
#else
        printf("%d\n", Slow(value).value);
#endif
    } catch (const std::exception &) {
        puts("failed");
    }
}

extern "C" void command(const char *line) {
    int value = 0;
    if (sscanf(line, "old %d", &value) == 1)
#ifdef NEW
        printf("%d (new)\n", old_one(value));
#else
        printf("%d\n", old_one(value));
#endif
    if (sscanf(line, "fresh %d", &value) == 1)
        fresh(value);
    if (!strncmp(line, "names", 5))
        printf("%zu\n", std::map<std::string, int>{{"x", 1}}.size());
}

// Instances of a template are weak, in sections of their own, and named by their types.
//#Hazard: C4,C12
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: go
#include "scenario.h"
#include <map>
#include <string>

template <typename T> struct Clamp {
    NOINLINE static T apply(T value, T low, T high) {
#ifdef NEW
        if (high < low)
            return low;
#endif
        return value < low ? low : high < value ? high : value;
    }
};

extern "C" void command(const char *line) {
    if (strcmp(line, "go"))
        return;
    std::map<std::string, int> seen;
    seen["int"] = Clamp<int>::apply(5, 10, 1);
    seen["long"] = (int)Clamp<long>::apply(0, 10, 1);
    seen["double"] = (int)Clamp<double>::apply(50.0, 10.0, 1.0);
    for (const auto &entry : seen)
        printf("%s %d\n", entry.first.c_str(), entry.second);
}

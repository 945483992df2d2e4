// A new function-local object with a constructor, a guard variable and a destructor at exit.
//#Hazard: D2,D10
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: safe
//#Call: words 3
#include "scenario.h"
#include <string>
#include <vector>

// Both builds use the library: one that only the new build needs isn't loaded in the old one's process, and then nothing is applied.
NOINLINE size_t length(const char *text) {
    return std::string(text).size();
}

NOINLINE size_t words(size_t n) {
#ifdef NEW
    static std::vector<std::string> cache(4, "word");
    return cache.size() * 100 + n;
#else
    return n;
#endif
}

extern "C" void command(const char *line) {
    size_t n = 0;
    if (sscanf(line, "words %zu", &n) == 1)
        printf("%zu %zu\n", words(n), length(line));
}

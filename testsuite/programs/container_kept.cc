// A container in an object that is alive holds something else; none of its own members is of a type that says so.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie cflags=-DMEMBER,-DARRAY,-DGLOBAL
//#Expect: start
//#Call: add 3
//#Call: add 4
#include "scenario.h"
#include <map>

struct here {
    int x, y;
};
struct there {
    int y, x;
};
here first;
there second;

#ifdef NEW
using row = there;
#else
using row = here;
#endif

struct table {
    long serial;
#ifdef ARRAY
    std::map<int, row> rows[2];
#else
    std::map<int, row> rows;
#endif
};

#ifdef GLOBAL
static std::map<int, row> kept;
NOINLINE std::map<int, row> &rows() { return kept; }
#else
static table *kept;
NOINLINE std::map<int, row> &rows() {
    if (!kept)
        kept = new table{};
#ifdef ARRAY
    return kept->rows[1];
#else
    return kept->rows;
#endif
}
#endif

NOINLINE int add(int n) {
    row made{};
    made.x = n;
    made.y = first.x + second.x;
    rows()[n] = made;
    int sum = 0;
    for (auto &one : rows())
        sum += one.second.x;
#ifdef NEW
    return sum * 10;
#else
    return sum;
#endif
}

extern "C" void command(const char *line) {
    int n;
    if (sscanf(line, "add %d", &n) == 1)
        printf("%d\n", add(n));
}

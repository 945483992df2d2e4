// What sets up a thread's objects at their first use changes: the threads that run have passed it. (With -O2 that code is part of each user.)
//#Hazard: D9,D10
//#Matrix: cc=gcc,clang opt=-O0 kind=pie,nopie,shared
//#Expect: start
//#Call: get c
//#Call: get a
#include "scenario.h"
#include <map>
#include <string>

#ifdef NEW
#define LAST 3
#else
#define LAST 2
#endif

using Table = std::map<std::string, int>;

static NOINLINE Table made() {
    Table all;
    for (int i = 1; i <= LAST; i++)
        all[std::string(1, static_cast<char>('a' + i - 1))] = i;
    return all;
}

static thread_local Table own = made();

NOINLINE const Table &table() {
    return own;
}

extern "C" void command(const char *line) {
    char name[8];
    if (sscanf(line, "get %7s", name) != 1)
        return;
    auto found = table().find(name);
    printf("%d\n", found == table().end() ? -1 : found->second);
}

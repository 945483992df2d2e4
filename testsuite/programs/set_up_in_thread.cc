// What sets up a thread's objects at their first use changes: the threads that run have passed it. With -O2 that code is part of each user.
//#Hazard: D9,D10
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared cflags=-DHELPER,-DNUMBER
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

#ifdef NUMBER
static NOINLINE Table made(int last) {
#else
static NOINLINE Table made() {
    const int last = LAST;
#endif
    Table all;
    for (int i = 1; i <= last; i++)
        all[std::string(1, static_cast<char>('a' + i - 1))] = i;
    return all;
}

#ifdef NUMBER
static thread_local Table own = made(LAST);
#else
static thread_local Table own = made();
#endif

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

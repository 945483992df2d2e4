// What runs once at a first use changes, in its own function or in what only that calls: a static object of a function, a function given to
// pthread_once or std::call_once. A process has passed it.
//#Hazard: D2,D10
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared cflags=-DTABLE,-DHELPER,-DNUMBER,-DSINGLE,-DONCE,-DCALL_ONCE,-DLAMBDA_ONCE
//#Expect: start
//#Call: get c
//#Call: get a
#include "scenario.h"
#include <cstdlib>
#include <map>
#include <string>

#ifdef NEW
#define LAST 3
#else
#define LAST 2
#endif

using Table = std::map<std::string, int>;

#ifdef TABLE
NOINLINE const Table &table() {
    static const Table known = {{"a", 1}, {"b", 2}
#ifdef NEW
    , {"c", 3}
#endif
    };
    return known;
}
#endif

#ifdef HELPER
static NOINLINE Table made() {
    Table all;
    for (int i = 1; i <= LAST; i++)
        all[std::string(1, static_cast<char>('a' + i - 1))] = i;
    return all;
}

NOINLINE const Table &table() {
    static const Table known = made();
    return known;
}
#endif

#ifdef NUMBER
static NOINLINE Table first(int n) {
    Table all;
    for (int i = 1; i <= n; i++)
        all[std::string(1, static_cast<char>('a' + i - 1))] = i;
    return all;
}

NOINLINE const Table &table() {
    static const Table known = first(LAST);
    return known;
}
#endif

#ifdef SINGLE
class Single {
    Table all;
    NOINLINE Single() {
        for (int i = 1; i <= LAST; i++)
            all[std::string(1, static_cast<char>('a' + i - 1))] = i;
    }

  public:
    static Single &only() {
        static Single one;
        return one;
    }
    const Table &table() const { return all; }
};

NOINLINE const Table &table() {
    return Single::only().table();
}
#endif

#ifdef ONCE
#include <pthread.h>
static pthread_once_t done = PTHREAD_ONCE_INIT;
static Table all;

static void fill() {
    for (int i = 1; i <= LAST; i++)
        all[std::string(1, static_cast<char>('a' + i - 1))] = i;
}

NOINLINE const Table &table() {
    pthread_once(&done, fill);
    return all;
}
#endif

#if defined(CALL_ONCE) || defined(LAMBDA_ONCE)
#include <mutex>
static std::once_flag done;
static Table all;

static NOINLINE void fill() {
    for (int i = 1; i <= LAST; i++)
        all[std::string(1, static_cast<char>('a' + i - 1))] = i;
}

NOINLINE const Table &table() {
#ifdef CALL_ONCE
    std::call_once(done, fill);
#else
    std::call_once(done, [] { fill(); });
#endif
    return all;
}
#endif

extern "C" void command(const char *line) {
    char name[8];
    if (sscanf(line, "get %7s", name) != 1)
        return;
    auto found = table().find(name);
    printf("%d\n", found == table().end() ? -1 : found->second);
}

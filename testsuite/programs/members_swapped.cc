// Members of one type change places, or their names; so do base classes, and what a closure caught. What is where looks the same. (Not so where a
// member is written out in place, or one is put around it.)
//#Hazard: C4,D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie cflags=-DPLAIN,-DSTRINGS,-DRENAMED,-DBASES,-DCAUGHT,-DOUT,-DAROUND
//#Sample: 2
//#Flags: -std=c++17
//#Expect: start
//#Expect[cflags=-DOUT]: live
//#Expect[cflags=-DAROUND]: live
//#Call: walk 3
//#Call: walk 4
#include "scenario.h"
#include <functional>
#include <string>

#ifdef NEW
#define EACH(was, is) is
#else
#define EACH(was, is) was
#endif

// Needs the unwinder in both builds.
struct Flushed {
    ~Flushed() {
        fflush(stdout);
    }
};

struct point {
    int x, y;
};
point unused;

#if defined STRINGS
struct user {
    std::string EACH(name, path), EACH(path, name);
};
static user *kept;

NOINLINE int walk(int n) {
    if (!kept)
        kept = new user{};
    kept->name = "x";
    kept->path.append(n, EACH('/', '-'));
    return (int)kept->name.size() * EACH(1000, 2000) + (int)kept->path.size();
}
#elif defined CAUGHT
static std::function<int(int)> kept;

NOINLINE int walk(int n) {
    std::string name = "x", path(n, '/');
    kept = [EACH(name, path), EACH(path, name)](int more) {
        return (int)name.size() * EACH(1000, 2000) + (int)path.size() + more;
    };
    return kept(n);
}
#elif defined BASES
struct near {
    int x;
};
struct far {
    int x;
};
struct span : EACH(near, far), EACH(far, near) {};
static span *kept;

NOINLINE int walk(int n) {
    if (!kept)
        kept = new span{};
    kept->near::x += n;
    return kept->near::x * EACH(1000, 2000) + kept->far::x;
}
#else
struct span {
#if defined PLAIN
    point EACH(from, to), EACH(to, from);
#elif defined RENAMED
    point EACH(from, from), EACH(to, of);
#define to EACH(to, of)
#elif defined OUT && defined NEW
    int x, y;
    point to;
#elif defined AROUND && defined NEW
    struct {
        point from;
    } inner;
    point to;
#else
    point from, to;
#endif
};
static span *kept;

#if defined OUT && defined NEW
#define FROM kept
#elif defined AROUND && defined NEW
#define FROM (&kept->inner.from)
#else
#define FROM (&kept->from)
#endif

NOINLINE int walk(int n) {
    if (!kept)
        kept = new span{};
    kept->to.x = n;
    FROM->x = -1;
    return FROM->x * EACH(1000, 2000) + kept->to.x;
}
#endif

extern "C" void command(const char *line) {
    Flushed flushed;
    int n;
    if (sscanf(line, "walk %d", &n) == 1)
        printf("%d\n", walk(n));
}

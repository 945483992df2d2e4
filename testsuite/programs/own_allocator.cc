// The program gets an allocator of its own: what old code has had from the library's would be given back to it.
//#Hazard: C10
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Expect: refuse HP0504
//#Call: one 3
#include "scenario.h"
#include <new>
#include <string>

#ifdef NEW
static int given;

void *operator new(std::size_t size) {
    long *room = static_cast<long *>(malloc(size + 16));
    room[0] = ++given;
    return room + 2;
}
void operator delete(void *at) noexcept {
    if (at)
        free(static_cast<long *>(at) - 2);
}
void operator delete(void *at, std::size_t) noexcept { operator delete(at); }
#endif

NOINLINE static std::string *make(int size) { return new std::string(size, 'x'); }

NOINLINE static void drop(std::string *one) {
#ifdef NEW
    printf("%d ", given);
#endif
    delete one;
}

extern "C" void command(const char *line) {
    int size;
    if (sscanf(line, "one %d", &size) != 1)
        return;
    std::string *one = make(size);
    printf("%zu\n", one->size());
    drop(one);
}

// Addresses that may be the end of one object or the start of the next, and of which the code tells by what it does first: it accesses what lies
// there, or it compares, walks backwards from there or hands it on.
//#Hazard: C1,C16
//#Matrix: cc=gcc,clang opt=-O0,-O1,-O2,-O3,-Os kind=pie,nopie ld=bfd,lld cflags=-DCHOSEN,-DFOUND,-DBACKWARDS,-DMEMBER
//#Sample: 2
//#Expect: safe
//#Call: run 0
//#Call: run 1
//#Call: run 5
//#Call: run 7
#include "scenario.h"

struct row {
    int key, flags;
    long value[2];
};

#ifdef NEW
#define MORE 1
#else
#define MORE 0
#endif

#if MORE
static struct row extra[2] = {{7, 70, {700, 7000}}, {9, 90, {900, 9000}}};
#endif
static struct row rows[3 + MORE] = {{1, 10, {100, 1000}}, {2, 20, {200, 2000}}, {5, 50, {500, 5000}}};
static struct row last = {8, 80, {800, 8000}};
static long calls;

#if defined CHOSEN
// What is chosen is accessed.
NOINLINE long run(int key) {
    struct row *r = key & 1 ? &rows[0] : &last;
#if MORE
    if (key & 4)
        r = &extra[1];
#endif
    r->value[1]++;
    return r->key + r->flags + calls;
}
#elif defined FOUND
// What is chosen may be the end, and is accessed only where it isn't.
NOINLINE long run(int key) {
    struct row *const end = rows + 3 + MORE, *found = rows;
    while (found != end && found->key != key)
        found++;
#if MORE
    if (found == end)
        for (found = extra; found != extra + 2 && found->key != key; found++)
            ;
    return found == end || found == extra + 2 ? -1 : found->value[0] + last.flags;
#else
    return found == end ? -1 : found->value[0] + last.flags;
#endif
}
#elif defined BACKWARDS
// From the end to the start.
NOINLINE long run(int key) {
    long sum = 0;
    for (struct row *r = rows + 3 + MORE; r != rows; r--)
        sum = sum * 3 + r[-1].flags + key;
#if MORE
    for (struct row *r = extra + 2; r-- != extra;)
        sum += r->value[1];
#endif
    return sum + last.key;
}
#else
// A member behind the first one, of each row: all that the function knows of the table is where the first of these lies.
NOINLINE long run(int key) {
    long sum = MORE;
    for (int i = 0; i < 3 + MORE; i++)
        sum += rows[i].value[0] += key & 0;
    return sum;
}
#endif

void command(const char *line) {
    int key;
    if (sscanf(line, "run %d", &key) == 1)
        printf("%ld\n", run(key));
}

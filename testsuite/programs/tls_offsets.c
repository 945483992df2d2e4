// Thread-local variables change places. Code has their offsets as numbers in all the ways that compilers and linkers know: with an index in `lea`,
// added to the thread pointer, loaded into a register; in functions that changed and in such that say the same. Numbers of the program's that are
// as large as those offsets stay what they are.
//#Hazard: D9
//#Matrix: cc=gcc,clang opt=-O2,-O1,-Os kind=pie,nopie cflags=-mtls-direct-seg-refs,-mno-tls-direct-seg-refs,-fPIC,-ftls-model=local-dynamic
//#Units: 2
//#Expect: live
//#Warm: count hello
//#Warm: sum 3 20
//#Warm: more 5
//#After: count hello => 32
//#After: sum 3 20 => 3391
//#After: place 4 => 9
//#After: more 1 => 7
//#After: rest -1 => -304
//#After: rest 5 => -395
//#Reverted: more 1 => 8
//#Reverted: rest -1 => -300
#include "scenario.h"

extern __thread int listed[400];
extern __thread long total;
extern __thread int single;

#if UNIT == 2
#ifdef NEW
__thread int spare[100] = {1};
#endif
__thread int listed[400] = {5, 6, 7, 8};
__thread long total = 7;
__thread int single = 3;
#ifndef NEW
__thread int spare[100] = {1};
#endif

NOINLINE int more(int x) { return spare[0] += x; }
#else
int more(int x);
static __thread int seen[256] = {5};
static __thread long often[400] = {7};
static __thread unsigned char kinds[300] = {9};

NOINLINE int count(const char *text) {
    int sum = 0;
    for (const char *p = text; *p; p++) {
        unsigned char c = *p;
        int before = seen[c]++;
        if (often[before & 255] > 3)
            often[c]--;
        often[(c + before) & 255] += before;
        sum += kinds[c];
        kinds[before & 127] ^= c;
        seen[sum & 255] += 2;
        often[sum & 127] ^= sum;
        if (sum > 100000)
            printf("%d %ld\n", seen[sum & 15], often[3]);
    }
    return sum + seen[0] + (int)often[0];
}

NOINLINE void touch(int *p, long *q) {
    p[3]++;
    *q += 2;
}

NOINLINE int sum(int from, int n) {
    int *p = listed, s = 0;
    for (int k = 0; k < n; k++) {
        s += listed[k + from];
        listed[k] += k;
        if (s & 1)
            touch(listed + k, &total);
        total += s;
    }
#ifdef NEW
    s += 1000;
#endif
    return s + p[0] + (int)total + single++;
}

NOINLINE int *place(int k) {
#ifdef NEW
    if (k < 0)
        return NULL;
#endif
    return &listed[k];
}

NOINLINE long rest(long x) {
#ifdef NEW
    if (x < 0)
        return -304;
#else
    if (x < 0)
        return -300;
#endif
    return total > 5000000 ? -200 : x - 400;
}

void command(const char *line) {
    int a, b;
    long x;
    if (!strncmp(line, "count ", 6))
        printf("%d\n", count(line + 6));
    if (sscanf(line, "sum %d %d", &a, &b) == 2)
        printf("%d\n", sum(a, b));
    if (sscanf(line, "place %d", &a) == 1)
        printf("%d\n", *place(a));
    if (sscanf(line, "more %d", &a) == 1)
        printf("%d\n", more(a));
    if (sscanf(line, "rest %ld", &x) == 1)
        printf("%ld\n", rest(x));
}
#endif

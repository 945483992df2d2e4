/* Every shape of code that the linker blurs, in one unit. EXTRA shifts the layout; CHANGE changes one function. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef EXTRA
int extra_global[37] = {1, 2, 3};
static const char extra_text[] = "a literal that moves all the others";
__attribute__((noinline)) int extra(int a)
{
    printf("%s %d\n", extra_text, a);
    for (int i = 0; i < 37; i++)
        extra_global[i] += a * i;
    return extra_global[a & 7] + 1234;
}
#endif

struct rec { int id; const char *name; int (*run)(int); };
int counter;
long table[16];
static int small;
static int array[64];
__thread int tls_first = 3;
__thread int tls_array[8];
static __thread long tls_static;
static const short lookup[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

__attribute__((noinline)) int twice(int a) { return a * 2; }
__attribute__((noinline)) int thrice(int a) { return a * 3; }
static const struct rec recs[] = {{1, "twice", twice}, {2, "thrice", thrice}, {3, "other", abs}};

__attribute__((noinline)) const char *name_of(int k)
{
    switch (k) {
    case 0: return "zero";
    case 1: return "one";
    case 2: return "two";
    case 3: return "three";
    case 4: return "four";
    case 5: return "five";
    default: return "many";
    }
}

__attribute__((noinline)) int dispatch(int k, int v)
{
    switch (k) {
    case 0: puts("none"); return v;
    case 1: counter += v; return twice(v);
    case 2: return thrice(v) + counter;
    case 3: return (int)strlen(name_of(v));
    case 4: table[v & 15]++; return 7;
    case 5: return abs(v);
    case 6: printf("%d\n", v); return v - 1;
    case 9: return array[v & 63];
    default: return -1;
    }
}

__attribute__((noinline)) int interpret(const unsigned char *code)
{
    static void *const labels[] = {&&stop, &&inc, &&dec, &&dbl};
    int acc = 0;
    goto *labels[*code++ & 3];
inc: acc++; goto *labels[*code++ & 3];
dec: acc--; goto *labels[*code++ & 3];
dbl: acc *= 2; goto *labels[*code++ & 3];
stop: return acc;
}

__attribute__((noinline)) int statics_a(int n) { static int count = 5; static int calls; calls++; return count += n + calls; }
__attribute__((noinline)) int statics_b(int n) { static int count = 9; return count -= n; }

__attribute__((noinline)) double floats(double x, float y) { return x * 1.25 + y * 3.5f - 0.125; }

__attribute__((noinline)) int threads(int k)
{
    tls_first += k;
    tls_array[k & 7] = tls_first;
    return (int)(tls_static += k) + tls_array[(k + 1) & 7];
}

__attribute__((noinline)) long sum(void)
{
    long s = 0;
    for (const long *p = table; p != table + 16; p++)
        s += *p;
    for (unsigned i = 1; i < sizeof lookup / sizeof *lookup; i++)
        s += lookup[i] - lookup[i - 1];
    for (int i = 1; i < 64; i++)
        array[i] += array[i - 1] + small;
    return s;
}

__attribute__((noinline)) int find(const char *name, int v)
{
    for (unsigned i = 0; i < sizeof recs / sizeof *recs; i++)
        if (strcmp(recs[i].name, name) == 0)
            return recs[i].run(v);
    if (v < -1000) {
        fprintf(stderr, "no such record: %s\n", name);
        abort();
    }
    return 0;
}

__attribute__((noinline)) int changing(int a)
{
#ifdef CHANGE
    if (a < 0)
        return 0;
#endif
    return a * 17 + counter;
}

int entry(int argc, char **argv)
{
    int r = dispatch(argc, argc) + interpret((const unsigned char *)"\1\3\2") + statics_a(argc) + statics_b(argc);
    r += (int)floats(argc, 2) + threads(argc) + (int)sum() + find(argv[0], r) + changing(r);
    small = r;
#ifdef EXTRA
    (void)0;
#endif
    return r;
}
#ifndef LIBRARY
int main(int argc, char **argv) { return entry(argc, argv); }
#endif

// Constants without symbols and with bytes of zero inside, some of which are tails of others; arrays initialised from hidden templates.
//#Hazard: C17,D4
//#Matrix: cc=gcc,clang opt=-O0,-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Expect[kind=nopie]: safe
// Bare numbers that may be addresses are refused in images at fixed addresses where nothing proves them (C16).
//#Expect[cc=clang,kind=nopie]: safe
//#Call: bytes 9
//#Call: bytes 12
//#Call: tail
//#Call: array 5
//#Call: wide
#include "scenario.h"
#include <wchar.h>

NOINLINE void show(const void *data, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        printf("%02x", bytes[i]);
    puts("");
}

NOINLINE void bytes(int n) {
#ifdef NEW
    show(n > 10 ? "xy\0zz\0longer than before\0e" : "a\0b\0c\0def", n > 10 ? 27 : 10);
    show("\0c\0def", 6);
#else
    show(n > 10 ? "xy\0zz\0e" : "a\0b\0c\0d", n > 10 ? 8 : 8);
    show("\0c\0d", 4);
#endif
}

NOINLINE void tail(void) {
#ifdef NEW
    show("prefix \n", 9);
    show("\n", 2);
    show("fix \n", 6);
#else
    show("prefix \t", 9);
    show("\t", 2);
#endif
}

NOINLINE int array(int i) {
#ifdef NEW
    int values[] = {11, 22, 33, 44, 55, 66, 77, 88, 99, 110};
    const char *names[] = {"k", "el", "em", "en", "oh", "pe"};
#else
    int values[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const char *names[] = {"a", "be", "ce", "de", "e", "ef"};
#endif
    OPAQUE(i);
    puts(names[i]);
    return values[i] + values[i + 3];
}

NOINLINE void wide(void) {
#ifdef NEW
    const wchar_t *text = L"wide and new";
#else
    const wchar_t *text = L"wide";
#endif
    OPAQUE(text);
    show(text, (wcslen(text) + 1) * sizeof *text);
}

void command(const char *line) {
    int n;
    if (sscanf(line, "bytes %d", &n) == 1)
        bytes(n);
    if (!strcmp(line, "tail"))
        tail();
    if (sscanf(line, "array %d", &n) == 1)
        printf("%d\n", array(n));
    if (!strcmp(line, "wide"))
        wide();
}

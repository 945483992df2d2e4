// A string changes its text and its length, another one keeps both; one is a tail of another.
//#Hazard: D2,C17
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
// Bare numbers that may be addresses are refused in images at fixed addresses where nothing proves them (C16).
//#Expect[cc=clang,kind=nopie]: safe
//#Call: greet
//#Call: tail
#include "scenario.h"

NOINLINE const char *greeting(void) {
#ifdef NEW
    return "good morning to you, and to everybody else";
#else
    return "hello";
#endif
}

NOINLINE const char *tail(void) {
#ifdef NEW
    return "body else";
#else
    return "else";
#endif
}

void command(const char *line) {
    if (!strcmp(line, "greet"))
        printf("%s, %s\n", greeting(), "unchanged");
    if (!strcmp(line, "tail"))
        puts(tail());
}

// What code can learn about itself and its callers: addresses, names, the stack. `look` changes; it reports through a callback, so that its
// frame is in the middle of the stack.
//#Hazard: I1,I3
//#Expect: live
//#Call: result
//#Flags: -rdynamic -fno-optimize-sibling-calls
#define _GNU_SOURCE
#include "asleep.h"
#include "scenario.h"
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <unistd.h>

typedef int (*report)(int, void *);
static int gate[2];
static volatile int inside;
static const char *last_site = "nowhere";

NOINLINE int plain(int x, void *site) {
    (void)site;
    return x;
}

NOINLINE int count_frames(int x, void *site) {
    void *frames[64];
    int n = backtrace(frames, 64), here = 0, in_main = 0;
    for (int i = 0; i < n; i++) {
        Dl_info info;
        here |= frames[i] == site;
        in_main |= dladdr(frames[i], &info) && info.dli_sname && !strcmp(info.dli_sname, "main");
    }
    printf("site %s, main %s\n", here ? "seen" : "missing", in_main ? "seen" : "missing");
    return x;
}

NOINLINE int name_site(int x, void *site) {
    Dl_info info;
    last_site = dladdr(site, &info) && info.dli_sname ? info.dli_sname : "no name";
    return x;
}

NOINLINE int wait_here(int x, void *site) {
    char byte;
    (void)site;
    inside = 1;
    return read(gate[0], &byte, 1) == 1 ? x : -1;
}

// Calls back with an address inside itself.
NOINLINE int look(report to, int x) {
    void *site;
#ifdef NEW
    x += 100;
#else
    x += 1;
#endif
    __asm__ volatile("" : "+r"(x));
    int answer = to(x, __builtin_return_address(0));
    OPAQUE(answer);
    site = (void *)look;
    return site ? answer : -1;
}

NOINLINE int outer(report to, int x) {
    int answer = look(to, x);
    OPAQUE(answer);
    return answer;
}

static void *worker(void *unused) {
    (void)unused;
    return outer(wait_here, 1) < 0 ? NULL : gate;
}

static int (*volatile stored)(report, int) = look;

void command(const char *line) {
    Dl_info info;
    if (!strcmp(line, "result"))
        printf("%d\n", outer(plain, 1));
    if (!strcmp(line, "frames"))
        outer(count_frames, 1);
    if (!strcmp(line, "caller")) {
        outer(name_site, 1);
        printf("%s\n", last_site);
    }
    if (!strcmp(line, "name"))
        printf("%s\n", dladdr((void *)stored, &info) && info.dli_sname ? info.dli_sname : "no name");
    if (!strcmp(line, "same"))
        printf("%s\n", stored == look && (void *)look == dlsym(RTLD_DEFAULT, "look") ? "same" : "different");
    if (!strcmp(line, "enter")) {
        pthread_t thread;
        if (pipe(gate) || pthread_create(&thread, NULL, worker, NULL))
            abort();
        pthread_detach(thread);
        while (!inside)
            usleep(1000);
        until_others_sleep();
    }
    if (!strcmp(line, "leave"))
        printf("%zd\n", write(gate[1], "x", 1));
}

// Threads are born and end all the time, each looks at thread-local variables once; others live on. Who finds anything but what the patch says that they
// begin with is counted.
//#Hazard: D9
//#Expect: live
//#Call: look
//#Flags: -pthread
#include "scenario.h"
#include <pthread.h>
#include <stdatomic.h>

enum { MAKERS = 2 };

static atomic_long born, wrong;
static atomic_int stopping;

#ifdef NEW
static __thread long first = 5, second = 6;
static __thread long zero[2];
#endif

// 1 where a thread finds the variables as they begin, and leaves them as no other should find them; 2 where not; 0 without them.
NOINLINE int look(void) {
#ifdef NEW
    int clean = first == 5 && second == 6 && !zero[0] && !zero[1];
    first = 50;
    second = 60;
    zero[0] = zero[1] = 70;
    return clean ? 1 : 2;
#else
    return 0;
#endif
}

static void *life(void *unused) {
    (void)unused;
    if (look() == 2)
        wrong++;
    born++;
    return NULL;
}

static void *make(void *unused) {
    (void)unused;
    while (!stopping) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, life, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return NULL;
}

static pthread_t makers[MAKERS];

void command(const char *line) {
    if (!strcmp(line, "start"))
        for (int i = 0; i < MAKERS; i++)
            pthread_create(&makers[i], NULL, make, NULL);
    if (!strcmp(line, "look"))
        printf("%d\n", look());
    if (!strcmp(line, "wrong"))
        printf("%ld\n", (long)wrong);
    if (!strcmp(line, "end")) {
        stopping = 1;
        for (int i = 0; i < MAKERS; i++)
            pthread_join(makers[i], NULL);
        printf("%s\n", born > 0 ? "born" : "none");
    }
}

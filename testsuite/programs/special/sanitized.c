// A program that a sanitizer watches: its functions tell it what their stacks hold, and use the heap, threads and the C library through it.
//#Hazard: S7,C10
//#Expect: live
//#Call: value
//#Flags: -pthread
#include "scenario.h"
#include <pthread.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long sum;
static char *kept;

// Without the bound that the new build has, a long text ends the process.
NOINLINE int length(const char *text, size_t n) {
    char copy[16];
#ifdef NEW
    if (n >= sizeof copy)
        n = sizeof copy - 1;
#endif
    memcpy(copy, text, n);
    copy[n] = 0;
    return (int)strlen(copy);
}

NOINLINE int value(int x) {
    int numbers[4];
    char *heap = malloc(8);
    memset(numbers, 0, sizeof numbers);
    snprintf(heap, 8, "%d", x);
    numbers[x & 3] = atoi(heap);
    free(heap);
#ifdef NEW
    return numbers[x & 3] + 100;
#else
    return numbers[x & 3] + 1;
#endif
}

NOINLINE int beyond(int i) {
#ifdef NEW
    return kept[i + 8];
#else
    return kept[i];
#endif
}

static void *worker(void *unused) {
    for (int i = 0; i < 20000; i++) {
        int answer = value(1);
        pthread_mutex_lock(&lock);
        sum += answer != 2 && answer != 101;
        pthread_mutex_unlock(&lock);
        if (i % 100 == 0)
            usleep(1000);
    }
    return unused;
}

static pthread_t threads[4];

void command(const char *line) {
    if (!kept) {
        kept = malloc(8);
        memset(kept, 1, 8);
        OPAQUE(kept);
    }
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "short"))
        printf("%d\n", length("a text of some length", 10));
    if (!strcmp(line, "long"))
        printf("%d\n", length("a text of some length", 20));
    if (!strcmp(line, "beyond"))
        printf("%d\n", beyond(1));
    for (int i = 0; i < 4; i++) {
        if (!strcmp(line, "start") && pthread_create(&threads[i], NULL, worker, NULL))
            abort();
        if (!strcmp(line, "join"))
            pthread_join(threads[i], NULL);
    }
    if (!strcmp(line, "join"))
        printf("wrong %ld\n", sum);
}

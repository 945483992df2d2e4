// Keeps the C library busy from several threads and checks every answer: allocator, stdio (narrow and wide), memory, locks, threads.
//#Hazard: S1,S3,S4
//#Expect: live
//#Call: appended
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>
#include <wordexp.h>

static atomic_long rounds, wrong;
static atomic_int quit, ended;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define MUST(what) ((what) ? (void)0 : complain(#what, __LINE__))

static void complain(const char *what, int line) {
    char text[200];
    int size = snprintf(text, sizeof text, "line %d: %s (errno %d)\n", line, what, errno);
    if (write(2, text, size) == size)
        atomic_fetch_add(&wrong, 1);
}

static unsigned next(unsigned *seed) {
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void allocate(unsigned *seed) {
    unsigned char *blocks[24] = {0};
    size_t sizes[24] = {0};
    for (int i = 0; i < 200; i++) {
        int k = next(seed) % 24;
        for (size_t j = 0; j < sizes[k]; j += 61)
            MUST(blocks[k][j] == (unsigned char)(k + 1));
        size_t size = next(seed) % (i % 50 ? 3000 : 300000) + 1;
        if (i % 3 == 0) {
            free(blocks[k]);
            size_t align = (size_t)16 << next(seed) % 8;
            blocks[k] = aligned_alloc(align, (size + align - 1) / align * align);
            MUST((uintptr_t)blocks[k] % align == 0);
        } else {
            blocks[k] = realloc(blocks[k], size);
        }
        MUST(blocks[k] != NULL);
        memset(blocks[k], k + 1, size);
        MUST(blocks[k][0] == k + 1 && blocks[k][size - 1] == k + 1);
        sizes[k] = size;
    }
    for (int k = 0; k < 24; k++)
        free(blocks[k]);
}

static void narrow(unsigned *seed) {
    FILE *file = tmpfile();
    MUST(file != NULL);
    if (!file)
        return;
    char line[64], wanted[64];
    for (int i = 0; i < 300; i++)
        MUST(fprintf(file, "%d %s\n", i, "text") > 0);
    rewind(file);
    for (int i = 0; i < 300; i++) {
        int c = fgetc(file);
        MUST(ungetc(c, file) == c);
        // Pushed back beyond what was read: stdio takes its backup buffer.
        if (next(seed) % 4 == 0) {
            MUST(ungetc('#', file) == '#');
            MUST(fgetc(file) == '#');
        }
        MUST(fgets(line, sizeof line, file) != NULL);
        snprintf(wanted, sizeof wanted, "%d text\n", i);
        MUST(!strcmp(line, wanted));
    }
    MUST(fgetc(file) == EOF && feof(file));
    MUST(fseek(file, 5, SEEK_SET) == 0 && ftell(file) == 5);
    MUST(ungetc('!', file) == '!');
    MUST(fseek(file, 0, SEEK_SET) == 0 && fgetc(file) == '0');
    MUST(fclose(file) == 0);
}

static void wide(void) {
    FILE *file = tmpfile();
    MUST(file != NULL);
    if (!file)
        return;
    for (int i = 0; i < 200; i++)
        MUST(fwprintf(file, L"%d wide\n", i) > 0);
    rewind(file);
    wchar_t line[64], wanted[64];
    for (int i = 0; i < 200; i++) {
        wint_t c = fgetwc(file);
        MUST(ungetwc(c, file) == c);
        MUST(ungetwc(L'#', file) == L'#');
        MUST(fgetwc(file) == L'#');
        MUST(fgetws(line, 64, file) != NULL);
        swprintf(wanted, 64, L"%d wide\n", i);
        MUST(!wcscmp(line, wanted));
    }
    MUST(fseek(file, 0, SEEK_SET) == 0 && fgetwc(file) == L'0');
    MUST(fclose(file) == 0);
}

static void memory(unsigned *seed) {
    static const unsigned sizes[] = {1, 3, 8, 15, 16, 31, 33, 63, 64, 65, 127, 129, 255, 257, 600, 3000, 9000};
    unsigned char room[9100];
    wchar_t wide[700];
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned size = sizes[i], at = next(seed) % 64;
        memset(room, 0x11, sizeof room);
        memset(room + at, 0xa5, size);
        MUST((at == 0 || room[at - 1] == 0x11) && room[at + size] == 0x11);
        for (unsigned j = 0; j < size; j++)
            MUST(room[at + j] == 0xa5);
        if (size < 600) {
            wmemset(wide, L'a', 700);
            wmemset(wide + 3, L'x', size);
            MUST(wide[2] == L'a' && wide[3] == L'x' && wide[2 + size] == L'x' && wide[3 + size] == L'a');
        }
    }
    volatile long long bits = 1LL << next(seed) % 62;
    MUST(ffsll(bits) > 0 && 1LL << (ffsll(bits) - 1) == bits && ffsll(bits - bits) == 0);
    void *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(map != MAP_FAILED);
    memset(map, 7, 8192);
    unsigned char *grown = mremap(map, 8192, 65536, MREMAP_MAYMOVE);
    MUST(grown != MAP_FAILED && grown[8191] == 7 && grown[8192] == 0);
    munmap(grown, 65536);
}

static _Thread_local int own;

static void *child(void *number) {
    own = (int)(intptr_t)number;
    free(malloc(own + 1));
    return (void *)(intptr_t)(own * 2);
}

static void others(unsigned *seed) {
    if (pthread_mutex_trylock(&lock) == 0)
        pthread_mutex_unlock(&lock);
    pthread_t thread;
    void *answer;
    int number = next(seed) % 1000;
    MUST(pthread_create(&thread, NULL, child, (void *)(intptr_t)number) == 0);
    MUST(pthread_join(thread, &answer) == 0 && (intptr_t)answer == number * 2);
    wordexp_t words;
    MUST(wordexp("one 'two three' $((4 * 5))", &words, WRDE_NOCMD) == 0);
    MUST(words.we_wordc == 3 && !strcmp(words.we_wordv[1], "two three") && !strcmp(words.we_wordv[2], "20"));
    wordfree(&words);
}

static void offspring(void) {
    pid_t pid = fork();
    if (pid == 0) {
        unsigned seed = 7;
        allocate(&seed);
        narrow(&seed);
        _exit(atomic_load(&wrong) ? 1 : 0);
    }
    int status;
    MUST(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    MUST(system("exit 3") >> 8 == 3);
}

static void once(unsigned *seed) {
    allocate(seed);
    narrow(seed);
    wide();
    memory(seed);
    others(seed);
}

static void *busy(void *number) {
    unsigned seed = (unsigned)(intptr_t)number;
    while (!atomic_load(&quit)) {
        once(&seed);
        if ((intptr_t)number == 1)
            offspring();
        atomic_fetch_add(&rounds, 1);
        usleep(1000);
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

// What a second call finds in a result that it is to use again and to append to: a fix of 2026 empties it first.
static void appended(void) {
    wordexp_t words;
    wordexp("one two", &words, 0);
    int error = wordexp("three", &words, WRDE_REUSE | WRDE_APPEND);
    dprintf(1, "%d, %zu words\n", error, words.we_wordc);
}

static void command(const char *line) {
    int n;
    unsigned seed = 42;
    if (!strcmp(line, "appended"))
        appended();
    if (!strcmp(line, "check")) {
        once(&seed);
        dprintf(1, "wrong %ld\n", atomic_load(&wrong));
    }
    if (sscanf(line, "busy %d", &n) == 1) {
        pthread_t thread;
        for (int i = 1; i <= n; i++)
            MUST(pthread_create(&thread, NULL, busy, (void *)(intptr_t)i) == 0);
    }
    if (!strcmp(line, "load")) {
        long before = atomic_load(&rounds);
        while (atomic_load(&rounds) < before + 10)
            usleep(1000);
        dprintf(1, "wrong %ld\n", atomic_load(&wrong));
    }
    if (sscanf(line, "stop %d", &n) == 1) {
        atomic_store(&quit, 1);
        while (atomic_load(&ended) < n)
            usleep(1000);
        dprintf(1, "wrong %ld\n", atomic_load(&wrong));
    }
}

// Reads by itself, so that the main thread doesn't wait inside stdio.
int main(void) {
    char line[200];
    size_t size = 0;
    for (;;) {
        if (read(0, line + size, 1) != 1)
            return 0;
        if (line[size] != '\n' && size < sizeof line - 1) {
            size++;
            continue;
        }
        line[size] = 0;
        size = 0;
        command(line);
        dprintf(1, ".\n");
    }
}

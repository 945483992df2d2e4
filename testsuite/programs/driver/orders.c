// Runs the `main` of a package's program once for each order, in a child of its own, for `cargo xtask fuzz --source package`. It is the
// same in both builds, and compiled as C++ where the program is. An order is `run`, the folder to run in, the file there to read from, and
// the arguments, with tabs between them.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef ARGUMENT
#define ARGUMENT char **
#endif

int subject_main(int argc, ARGUMENT argv);

static void say(const char *text) {
    if (write(1, text, strlen(text)) < 0)
        _exit(99);
}

/* Byte by byte: what comes behind the line stays for the next one, also in a child. */
static int take(char *to, size_t room) {
    size_t n = 0;
    char c;
    while (read(0, &c, 1) == 1) {
        if (c == '\n') {
            to[n] = 0;
            return 1;
        }
        if (n + 1 < room)
            to[n++] = c;
    }
    return 0;
}

static void limit(int what, unsigned long soft) {
    struct rlimit rlimit;
    rlimit.rlim_cur = rlimit.rlim_max = soft;
    setrlimit((enum __rlimit_resource)what, &rlimit);
}

static void lead(const char *path, int flags, int to) {
    int fd = open(path, flags, 0644);
    if (fd < 0 || dup2(fd, to) < 0)
        _exit(98);
    close(fd);
}

static void child(int count, char **words) {
    limit(RLIMIT_CPU, 3);
    limit(RLIMIT_FSIZE, 4 << 20);
    limit(RLIMIT_CORE, 0);
#ifndef __SANITIZE_ADDRESS__
    limit(RLIMIT_DATA, 1ul << 30);
#endif
    alarm(30);
    if (chdir(words[1]) != 0)
        _exit(97);
    lead(words[2], O_RDONLY, 0);
    lead("stdout", O_WRONLY | O_CREAT | O_TRUNC, 1);
    lead("stderr", O_WRONLY | O_CREAT | O_TRUNC, 2);
    words[2] = (char *)"subject";
    exit(subject_main(count - 2, (ARGUMENT)(words + 2)));
}

int main(void) {
    static char line[65536];
    char *words[64], answer[64];
    while (take(line, sizeof line)) {
        int count = 0, status = 0;
        for (char *word = strtok(line, "\t"); word && count < 63; word = strtok(NULL, "\t"))
            words[count++] = word;
        words[count] = NULL;
        if (count > 2) {
            pid_t pid = fork();
            if (pid == 0)
                child(count, words);
            if (pid < 0 || waitpid(pid, &status, 0) != pid)
                return 96;
            if (WIFEXITED(status))
                snprintf(answer, sizeof answer, "exit %d\n", WEXITSTATUS(status));
            else
                snprintf(answer, sizeof answer, "signal %d\n", WTERMSIG(status));
            say(answer);
        }
        say(".\n");
    }
    return 0;
}

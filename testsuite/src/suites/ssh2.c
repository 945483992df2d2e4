// A session over a socket pair with an sshd that serves just this one; the library's interface without its headers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct session session;
typedef struct channel channel;
typedef struct sftp sftp;
typedef struct handle handle;
int libssh2_init(int), libssh2_session_handshake(session *, int), libssh2_session_free(session *), libssh2_channel_free(channel *);
session *libssh2_session_init_ex(void *, void *, void *, void *);
char *libssh2_userauth_list(session *, const char *, unsigned);
int libssh2_userauth_password_ex(session *, const char *, unsigned, const char *, unsigned, void *), libssh2_userauth_authenticated(session *);
int libssh2_userauth_publickey_fromfile_ex(session *, const char *, unsigned, const char *, const char *, const char *);
int libssh2_session_last_errno(session *), libssh2_session_disconnect_ex(session *, int, const char *, const char *);
const char *libssh2_session_methods(session *, int);
channel *libssh2_channel_open_ex(session *, const char *, unsigned, unsigned, unsigned, const char *, unsigned);
int libssh2_channel_process_startup(channel *, const char *, unsigned, const char *, unsigned), libssh2_channel_setenv_ex(channel *, const char *, unsigned, const char *, unsigned);
int libssh2_channel_send_eof(channel *), libssh2_channel_close(channel *), libssh2_channel_wait_closed(channel *), libssh2_channel_get_exit_status(channel *);
long libssh2_channel_read_ex(channel *, int, char *, size_t), libssh2_channel_write_ex(channel *, int, const char *, size_t);
channel *libssh2_scp_recv2(session *, const char *, void *), *libssh2_scp_send64(session *, const char *, int, long long, long, long);
sftp *libssh2_sftp_init(session *);
handle *libssh2_sftp_open_ex(sftp *, const char *, unsigned, unsigned long, long, int);
long libssh2_sftp_read(handle *, char *, size_t), libssh2_sftp_write(handle *, const char *, size_t);
int libssh2_sftp_readdir_ex(handle *, char *, size_t, char *, size_t, void *), libssh2_sftp_close_handle(handle *), libssh2_sftp_shutdown(sftp *);
int libssh2_sftp_unlink_ex(sftp *, const char *, unsigned), libssh2_sftp_mkdir_ex(sftp *, const char *, unsigned, long), libssh2_sftp_rmdir_ex(sftp *, const char *, unsigned);
int libssh2_sftp_symlink_ex(sftp *, const char *, unsigned, char *, unsigned, int), libssh2_sftp_rename_ex(sftp *, const char *, unsigned, const char *, unsigned, long);
unsigned long libssh2_sftp_last_error(sftp *);
void *libssh2_publickey_init(session *);
int libssh2_knownhost_readline(void *, const char *, size_t, int), libssh2_knownhost_writeline(void *, void *, char *, size_t, size_t *, int);
void *libssh2_knownhost_init(session *), libssh2_knownhost_free(void *);
int libssh2_knownhost_get(void *, void **, void *);

#define S(text) text, (unsigned)strlen(text)

static void run(session *s, const char *how, const char *what, const char *input) {
    char buffer[4096];
    long n, total = 0;
    channel *c = libssh2_channel_open_ex(s, S("session"), 2 << 20, 32768, NULL, 0);
    printf("%s %.40s: ", how, what);
    if (!c) {
        printf("no channel %d\n", libssh2_session_last_errno(s));
        return;
    }
    printf("%d ", libssh2_channel_setenv_ex(c, S("LC_X"), S("1")));
    int started = libssh2_channel_process_startup(c, how, strlen(how), what, strlen(what));
    printf("%d ", started);
    if (started) {
        printf("free %d\n", libssh2_channel_free(c));
        return;
    }
    printf("%ld ", libssh2_channel_write_ex(c, 0, input, strlen(input)));
    libssh2_channel_send_eof(c);
    while ((n = libssh2_channel_read_ex(c, 0, buffer, sizeof buffer)) > 0) {
        if (!total)
            printf("[%.*s] ", (int)(n < 60 ? n : 60), buffer);
        total += n;
    }
    libssh2_channel_close(c);
    libssh2_channel_wait_closed(c);
    printf("%ld bytes, status %d\n", total, libssh2_channel_get_exit_status(c));
    libssh2_channel_free(c);
}

static void files(session *s, const char *dir) {
    char path[512], other[512], buffer[700], small[4];
    sftp *f = libssh2_sftp_init(s);
    if (!f) {
        printf("no sftp %d\n", libssh2_session_last_errno(s));
        return;
    }
    snprintf(path, sizeof path, "%s/new", dir);
    printf("mkdir %d\n", libssh2_sftp_mkdir_ex(f, S(path), 0700));
    snprintf(path, sizeof path, "%s/new/file", dir);
    handle *h = libssh2_sftp_open_ex(f, S(path), 2 | 8 | 16, 0600, 0);
    memset(buffer, 'x', sizeof buffer);
    long wrote = 0;
    for (int i = 0; h && i < 200; i++)
        wrote += libssh2_sftp_write(h, buffer, sizeof buffer);
    printf("wrote %ld, close %d\n", wrote, h ? libssh2_sftp_close_handle(h) : -1);
    h = libssh2_sftp_open_ex(f, S(path), 1, 0, 0);
    long n, total = 0;
    while (h && (n = libssh2_sftp_read(h, buffer, sizeof buffer)) > 0)
        total += n;
    printf("read %ld, close %d\n", total, h ? libssh2_sftp_close_handle(h) : -1);
    snprintf(other, sizeof other, "%s/new/link", dir);
    printf("symlink %d\n", libssh2_sftp_symlink_ex(f, S(path), other, strlen(other), 0));
    int length = libssh2_sftp_symlink_ex(f, S(other), buffer, sizeof buffer, 1);
    printf("readlink %d\n", length - (int)strlen(path));
    printf("readlink into little room %d\n", libssh2_sftp_symlink_ex(f, S(other), small, sizeof small, 1));
    printf("realpath of nothing %d %lu\n", libssh2_sftp_symlink_ex(f, S("/none/none"), buffer, sizeof buffer, 2), libssh2_sftp_last_error(f));
    snprintf(path, sizeof path, "%s/new", dir);
    h = libssh2_sftp_open_ex(f, S(path), 0, 0, 1);
    int names = 0;
    while (h && (length = libssh2_sftp_readdir_ex(h, buffer, sizeof buffer, NULL, 0, NULL)) > 0)
        names += length;
    printf("names %d, close %d\n", names, h ? libssh2_sftp_close_handle(h) : -1);
    printf("open nothing %d %lu\n", libssh2_sftp_open_ex(f, S("/none/none"), 1, 0, 0) != NULL, libssh2_sftp_last_error(f));
    printf("unlink %d\n", libssh2_sftp_unlink_ex(f, S(other)));
    snprintf(path, sizeof path, "%s/new/file", dir);
    printf("rename %d ", libssh2_sftp_rename_ex(f, S(path), S(other), 7));
    printf("unlink %d ", libssh2_sftp_unlink_ex(f, S(other)));
    snprintf(path, sizeof path, "%s/new", dir);
    printf("rmdir %d\n", libssh2_sftp_rmdir_ex(f, S(path)));
    printf("shutdown %d\n", libssh2_sftp_shutdown(f));
}

static void hosts(session *s) {
    static const char *lines[] = {"example.test ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQ== me", "|1|bad|bad ssh-rsa AAAA", "a,b,c ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 x y", "# comment", "", "onlyname", "n ssh-rsa", "[h]:22 ssh-dss AAAAB3NzaC1kc3M="};
    void *all = libssh2_knownhost_init(s), *at = NULL;
    char out[300];
    size_t length;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        printf("host %zu %d\n", i, libssh2_knownhost_readline(all, lines[i], strlen(lines[i]), 1));
    while (libssh2_knownhost_get(all, &at, at) == 0)
        printf("%d [%s]\n", libssh2_knownhost_writeline(all, at, out, sizeof out, &length, 1), out);
    libssh2_knownhost_free(all);
}

// Arguments: a folder with `host`, `user`, `user.pub` and `sshd_config`; one to work in; the user. Without them: only what needs no server.
int main(int argc, char **argv) {
    if (argc < 4) {
        hosts(libssh2_session_init_ex(NULL, NULL, NULL, NULL));
        return libssh2_init(0);
    }
    int ends[2];
    char config[512], key[512], pub[512], host[512];
    snprintf(config, sizeof config, "%s/sshd_config", argv[1]);
    snprintf(host, sizeof host, "%s/host", argv[1]);
    snprintf(key, sizeof key, "%s/user", argv[1]);
    snprintf(pub, sizeof pub, "%s/user.pub", argv[1]);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        return 9;
    if (!fork()) {
        unsetenv("LD_PRELOAD");
        unsetenv("LD_LIBRARY_PATH");
        dup2(ends[1], 0);
        dup2(ends[1], 1);
        close(ends[0]);
        execl("/usr/sbin/sshd", "/usr/sbin/sshd", "-i", "-f", config, "-h", host, "-E", "/dev/null", NULL);
        _exit(9);
    }
    close(ends[1]);
    printf("init %d\n", libssh2_init(0));
    session *s = libssh2_session_init_ex(NULL, NULL, NULL, NULL);
    printf("handshake %d\n", libssh2_session_handshake(s, ends[0]));
    for (int i = 0; i < 8; i++)
        printf("%s\n", libssh2_session_methods(s, i) ?: "-");
    printf("ways %s\n", libssh2_userauth_list(s, S(argv[3])) ?: "-");
    printf("password %d\n", libssh2_userauth_password_ex(s, S(argv[3]), S("wrong"), NULL));
    printf("no key %d\n", libssh2_userauth_publickey_fromfile_ex(s, S(argv[3]), pub, "/none", NULL));
    printf("key %d\n", libssh2_userauth_publickey_fromfile_ex(s, S(argv[3]), pub, key, NULL));
    printf("authenticated %d\n", libssh2_userauth_authenticated(s));
    run(s, "exec", "cat; echo done $LC_X", "some text");
    run(s, "exec", "exit 3", "");
    run(s, "exec", "head -c 300000 /dev/zero | tr '\\0' y", "");
    run(s, "subsystem", "none", "");
    printf("publickey %d %d\n", libssh2_publickey_init(s) != NULL, libssh2_session_last_errno(s));
    files(s, realpath(argv[2], NULL));
    printf("scp %d\n", libssh2_scp_recv2(s, "/none", NULL) != NULL);
    printf("disconnect %d\n", libssh2_session_disconnect_ex(s, 11, "bye", ""));
    printf("free %d\n", libssh2_session_free(s));
    return 0;
}

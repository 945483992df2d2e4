// Uses the library's interface without its headers, so that one program fits every build.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

typedef void *channel_t;
int ares_library_init(int), ares_init(channel_t *), ares_set_sortlist(channel_t, const char *), ares_set_servers_csv(channel_t, const char *);
int ares_set_servers_ports_csv(channel_t, const char *), ares_inet_pton(int, const char *, void *), ares_expand_name(const unsigned char *, const unsigned char *, int, char **, long *);
int ares_create_query(const char *, int, int, unsigned short, int, unsigned char **, int *, int), ares_fds(channel_t, fd_set *, fd_set *);
int ares_parse_a_reply(const unsigned char *, int, void **, void *, int *), ares_parse_aaaa_reply(const unsigned char *, int, void **, void *, int *);
int ares_parse_txt_reply(const unsigned char *, int, void **), ares_parse_srv_reply(const unsigned char *, int, void **), ares_parse_mx_reply(const unsigned char *, int, void **);
int ares_parse_soa_reply(const unsigned char *, int, void **), ares_parse_naptr_reply(const unsigned char *, int, void **), ares_parse_ns_reply(const unsigned char *, int, void **);
const char *ares_inet_ntop(int, const void *, char *, int), *ares_strerror(int), *ares_version(int *);
void ares_query(channel_t, const char *, int, int, void (*)(void *, int, int, unsigned char *, int), void *), ares_process(channel_t, fd_set *, fd_set *);
void ares_destroy(channel_t), ares_free_string(void *);
struct timeval *ares_timeout(channel_t, struct timeval *, struct timeval *);

static const char *addresses[] = {"1.2.3.4", "::1", "::", "1.2.3", "256.1.1.1", "fe80::1%lo", "1:2:3:4:5:6:7:8", "1::2::3", "::ffff:1.2.3.4", "0x7f.1", "", "1.2.3.4/24", "12345::", "::1.2.3.4.5", ":1", "1:2:3:4:5:6:7::"};

static void show_addresses(void) {
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        for (int family = 0; family < 2; family++) {
            unsigned char bytes[16] = {0};
            char back[64] = "";
            int kind = family ? AF_INET6 : AF_INET, got = ares_inet_pton(kind, addresses[i], bytes);
            printf("%s %d %d ", addresses[i], family, got);
            if (got == 1)
                printf("%s", ares_inet_ntop(kind, bytes, back, sizeof back));
            puts("");
        }
}

static void show_options(void) {
    static const char *lists[] = {"130.155.160.0/255.255.240.0 130.155.0.0", "10.0.0.0/8", "::1/64 1.2.3.4/32", "1.2.3.4/33", "/24", "1.2.3.4/255.0.255.0", "1.2.3.4/", "bad", "", "0x0a.1/8", "10/8", "10.1/16 fe80::/10", "fe80::/129", "::/0", "1.2.3.4/0;2.3.4.5", "0xff/9", "300/8", "1.2.3.4.5/8"};
    channel_t channel;
    printf("%d\n", ares_init(&channel));
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        printf("%s: %d\n", lists[i], ares_set_sortlist(channel, lists[i]));
    static const char *servers[] = {"1.2.3.4", "1.2.3.4:53,::1", "[::1]:53", "bad", ",,", "1.2.3.4:99999", "fe80::1"};
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++)
        printf("%s: %d %d\n", servers[i], ares_set_servers_csv(channel, servers[i]), ares_set_servers_ports_csv(channel, servers[i]));
    ares_destroy(channel);
}

static int reply(unsigned char *out, int type, const char *data, int length) {
    unsigned char *query;
    int size;
    if (ares_create_query("host.test", 1, type, 7, 1, &query, &size, 0))
        return 0;
    memcpy(out, query, size);
    ares_free_string(query);
    out[2] = 0x81, out[3] = 0x80, out[7] = 2;
    for (int i = 0; i < 2; i++) {
        unsigned char head[] = {0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, length};
        memcpy(out + size, head, 12);
        memcpy(out + size + 12, data, length);
        size += 12 + length;
    }
    return size;
}

static void show_replies(void) {
    static const struct { int type, length; const char *data; } answers[] = {
        {1, 4, "\1\2\3\4"}, {28, 16, "0123456789abcdef"}, {16, 6, "\2ab\2cd"}, {16, 4, "\7ab"}, {33, 14, "\0\1\0\2\0\120\1a\4test\0"}, {15, 9, "\0\5\1m\4test"}, {15, 4, "\0\5\300\14"},
        {2, 2, "\300\14"}, {6, 24, "\300\14\300\14\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5"}, {35, 15, "\0\1\0\2\1s\3svc\1r\300\14"}, {5, 2, "\300\300"}, {1, 3, "\1\2\3"}};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        unsigned char bytes[1024];
        int size = reply(bytes, answers[i].type, answers[i].data, answers[i].length);
        for (int cut = 0; cut < size; cut += 1 + cut / 8) {
            void *found = NULL;
            int length = size - cut, none = 0;
            printf("%zu/%d: %d", i, cut, ares_parse_a_reply(bytes, length, &found, NULL, &none));
            printf(" %d", ares_parse_aaaa_reply(bytes, length, &found, NULL, &none));
            printf(" %d", ares_parse_txt_reply(bytes, length, &found));
            printf(" %d", ares_parse_srv_reply(bytes, length, &found));
            printf(" %d", ares_parse_mx_reply(bytes, length, &found));
            printf(" %d", ares_parse_soa_reply(bytes, length, &found));
            printf(" %d", ares_parse_naptr_reply(bytes, length, &found));
            printf(" %d\n", ares_parse_ns_reply(bytes, length, &found));
        }
    }
}

static void show_names(void) {
    static const char *names[] = {"a.b", "a\\.b.c", "", ".", "a..b", "x\\046y", "0123456789012345678901234567890123456789012345678901234567890123.t"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned char *query = NULL;
        char *name;
        long used;
        int size = 0, got = ares_create_query(names[i], 1, 1, 7, 1, &query, &size, i % 2 ? 1232 : 0);
        printf("%s: %d %d", names[i], got, size);
        for (int k = 0; k < size; k++)
            printf(" %02x", query[k]);
        if (!got && !ares_expand_name(query + 12, query, size, &name, &used))
            printf(" %s %ld", name, used);
        puts("");
    }
}

static int socket_of_server;

static void *serve(void *unused) {
    for (int n = 0;; n++) {
        unsigned char bytes[512];
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(socket_of_server, bytes, sizeof bytes, 0, (void *)&from, &length);
        if (got < 12)
            continue;
        // Nothing at all first, which must not be taken for the end of the connection.
        if (n % 2 == 0)
            sendto(socket_of_server, "", 0, 0, (void *)&from, length);
        bytes[2] |= 0x80, bytes[3] = n % 3 == 2 ? 3 : 0;
        sendto(socket_of_server, bytes, got, 0, (void *)&from, length);
    }
    return unused;
}

static void answered(void *name, int status, int timeouts, unsigned char *bytes, int size) {
    printf("%s: %s, %d bytes\n", (char *)name, ares_strerror(status), size);
}

static void show_server(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    pthread_t thread;
    channel_t channel;
    char server[64];
    socket_of_server = socket(AF_INET, SOCK_DGRAM, 0);
    bind(socket_of_server, (void *)&at, sizeof at);
    getsockname(socket_of_server, (void *)&at, &length);
    pthread_create(&thread, NULL, serve, NULL);
    snprintf(server, sizeof server, "127.0.0.1:%d", ntohs(at.sin_port));
    printf("%d", ares_init(&channel));
    printf(" %d\n", ares_set_servers_ports_csv(channel, server));
    static char *names[] = {"one.test", "two.test", "three.test", "four.test"};
    for (int i = 0; i < 4; i++) {
        ares_query(channel, names[i], 1, 1, answered, names[i]);
        for (;;) {
            fd_set readers, writers;
            struct timeval wait;
            FD_ZERO(&readers);
            FD_ZERO(&writers);
            int count = ares_fds(channel, &readers, &writers);
            if (!count)
                break;
            select(count, &readers, &writers, NULL, ares_timeout(channel, NULL, &wait));
            ares_process(channel, &readers, &writers);
        }
    }
    ares_destroy(channel);
}

int main(int count, char **words) {
    const char *part = count > 1 ? words[1] : "";
    ares_library_init(1);
    if (!strcmp(part, "addresses"))
        show_addresses();
    else if (!strcmp(part, "options"))
        show_options();
    else if (!strcmp(part, "replies"))
        show_replies();
    else if (!strcmp(part, "names"))
        show_names();
    else
        show_server();
    return 0;
}

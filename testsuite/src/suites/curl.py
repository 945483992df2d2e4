"""A web server on a Unix socket with awkward answers, and curl that asks it."""
import os, socketserver, subprocess, sys, threading

ANSWERS = {
    "/plain": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-T: v\r\n\r\n",
    "/badchunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "/cookie": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; path=/; domain=x.test\r\nSet-Cookie: b=2; domain=test\r\nSet-Cookie: __Secure-c=3\r\n"
    b"Set-Cookie: d=4; domain=CO.UK\r\nSet-Cookie: none=none; max-age=0\r\nContent-Length: 0\r\n\r\n",
    "/redirect": b"HTTP/1.1 302 Found\r\nLocation: http://y.test/plain\r\nContent-Length: 0\r\n\r\n",
    "/redirect2": b"HTTP/1.1 301 Moved\r\nLocation: /cookie\r\nContent-Length: 0\r\n\r\n",
    "/loop": b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n",
    "/hsts": b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=31536000; includeSubDomains\r\nContent-Length: 2\r\n\r\nok",
    "/gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nbad",
    "/many": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 900 + b"Content-Length: 0\r\n\r\n",
    "/auth": b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\nContent-Length: 0\r\n\r\n",
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
    "/nul": b"HTTP/1.1 200 OK\r\nA\0b: c\r\n\r\n",
    "/old": b"hello\n",
}


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        words = self.rfile.readline().split()
        head = []
        while True:
            line = self.rfile.readline()
            if line in (b"\r\n", b""):
                break
            if not line.lower().startswith((b"user-agent", b"authorization: digest")):
                head.append(line)
        path = words[1].decode() if len(words) > 1 else ""
        if path.startswith("/echo"):
            body = b"".join(sorted(head))
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        else:
            self.wfile.write(ANSWERS.get(path, b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n"))


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


if os.path.exists("work/s"):
    os.remove("work/s")
server = Server("work/s", Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name in ("work/jar", "work/hsts"):
    if os.path.exists(name):
        os.remove(name)
for words in (
    [["http://x.test" + path] for path in list(ANSWERS) + ["/none", "/echo"]]
    + [
        ["-L", "-u", "u:p", "http://x.test/redirect"],
        ["-L", "--max-redirs", "3", "http://x.test/loop"],
        ["-c", "work/jar", "-b", "work/jar", "-L", "http://x.test/redirect2", "http://x.test/echo", "http://sub.x.test/echo"],
        ["--hsts", "work/hsts", "http://x.test/hsts", "http://x.test/echo"],
        ["--digest", "-u", "u:p", "http://x.test/auth"],
        ["-d", "a=b", "-X", "PUT", "http://x.test/echo"],
        ["-F", "f=value;type=text/x", "-H", "Expect:", "-o", "/dev/null", "http://x.test/echo"],
        ["-I", "http://x.test/plain"],
        ["--compressed", "http://x.test/gzip"],
        ["-C", "2", "http://x.test/plain"],
        ["http://x.test/plain", "--next", "-G", "-d", "q=1", "http://x.test/echo"],
        ["--path-as-is", "http://u@x.test/echo/../y?a#b"],
        ["-g", "http://x.test/{plain,none}"],
        ["http://x.test/[1-3]"],
        ["-H", "Host: other", "-e", "ref;auto", "-A", "", "http://x.test/echo"],
        ["-T", "/etc/hostname", "-H", "Expect:", "http://x.test/echo"],
        ["--noproxy", "*", "--proto-redir", "-all", "-L", "http://x.test/redirect"],
        ["-z", "Tue, 01 Jan 2019 00:00:00 GMT", "http://x.test/plain"],
    ]
):
    command = [sys.argv[1], "-s", "-S", "-i", "-m", "5", "--http0.9", "--unix-socket", "work/s"] + words
    done = subprocess.run(command, capture_output=True)
    print(words[-1], done.returncode, done.stdout, done.stderr, flush=True)
if os.path.exists("work/jar"):
    print(sorted(line for line in open("work/jar") if "\t" in line))

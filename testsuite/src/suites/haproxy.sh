rm -rf work/*
cat >work/h.conf <<'C'
global
  maxconn 64
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 3s
  timeout server 3s
frontend f
  bind unix@work/s
  http-request return status 200 content-type text/plain lf-string "%[path] %[query] %[req.hdr(x)] %[url_param(a),regsub(b,cc,g)]\n" if { path_beg /echo }
  http-request return status 200 content-type text/plain lf-string "%[req.body,json_query('\$.a')] %[req.body,length]\n" if { path /json }
  http-request return status 200 content-type text/plain lf-string "%[str(aXbXc),regsub(X,%[path],g)] %[path,field(2,/),upper] %[path,base64,sha1,hex] %[query,url_dec,word(2,&)]\n" if { path_beg /conv }
  http-request deny deny_status 429 if { path_beg /deny }
  http-request redirect location /other code 302 if { path /redirect }
  http-request set-path /b if { path /a }
  default_backend b
frontend g
  bind unix@work/s2
  http-request return status 200 content-type text/plain lf-string "back %[path] %[req.fhdr(x-y)]\n"
backend b
  option httpchk
  http-request set-header X-Y %[path,lower]
  http-response set-header X-Z done
  server s unix@work/s2
C
$RUN bin/haproxy -db -f work/h.conf >work/log 2>&1 &
server=$!; n=0
until curl -s --unix-socket work/s http://x/echo >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 300 ] && exit 9; sleep 0.02; done
if [ -n "$LIVE" ]; then $HPATCH apply --pid $server "$LIVE" >/dev/null || exit 10; fi
get() { curl -s -m 5 --path-as-is --unix-socket work/s -w '%{http_code} %{size_download}\n' "$@"; }
for u in echo 'echo?a=bbb' 'echo#frag?x' 'conv/a/b?x=1&y=%41' deny redirect a other 'echo/%23' 'echo?%0a'; do get "http://x/$u"; get --http2-prior-knowledge "http://x/$u"; done
for j in '{"a":1}' '{"a":"x"}' '{"a":[1,2]}' '{"a":1e400}' '{"a":-1.5e-3}' '{"a":tru' '{"b":1}' '' '[' '{"a":9999999999999999999999}'; do get -d "$j" http://x/json; done
raw() { python3 -c 'import socket,sys; s=socket.socket(socket.AF_UNIX); s.settimeout(3); s.connect("work/s"); s.sendall(eval(sys.argv[1])); d=b""
try:
  while True:
    c=s.recv(4096)
    if not c: break
    d+=c
except OSError: pass
print(d.split(b"\r\n")[0])' "$1"; }
raw 'b"GET /echo#x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"'; raw 'b"GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \r\nConnection: close\r\n\r\n"'; raw 'b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1,\r\nConnection: close\r\n\r\nx"'; raw 'b"GET /echo HTTP/1.1\r\nHost: a\r\n: x\r\nConnection: close\r\n\r\n"'; raw 'b"GET /\x80\x01 HTTP/1.1\r\nHost: a\r\n\r\n"'; raw 'b"BAD\r\n\r\n"'
if [ -n "$LIVE" ]; then $HPATCH verify --pid $server >/dev/null || exit 11; $HPATCH revert --pid $server "$ID" >/dev/null || exit 12; get http://x/echo >/dev/null || exit 13; fi
kill -USR1 $server; wait $server

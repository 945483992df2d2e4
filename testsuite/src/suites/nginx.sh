rm -rf work/*; mkdir -p work/www/dir work/logs; printf 'hello world\n' >work/www/a.txt; i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i+1)); done >work/www/big.txt
printf '<!--#set var="x" value="1" --><!--#if expr="$x = 1" -->yes<!--#else -->no<!--#endif --><!--#echo var="x" -->\n' >work/www/p.shtml
printf '\0\0\0\030ftypmp42\0\0\0\0mp42isom\0\0\0\010moov' >work/www/v.mp4
cat >work/n.conf <<'C'
daemon off; master_process off; pid work/pid; error_log work/log error;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path work/b; proxy_temp_path work/p; fastcgi_temp_path work/f; uwsgi_temp_path work/u; scgi_temp_path work/c;
  map $arg_m $mapped { default none; ~^a(.)$ one-$1; b two; }
  charset_map koi8-r utf-8 { 6c D0BB; C0 D18E; }
  upstream back { server unix:work/s2; keepalive 4; }
  server { listen unix:work/s; root work/www; charset utf-8; source_charset koi8-r;
    location /dir/ { autoindex on; }
    location /r/ { rewrite ^/r/(.*)/(.*)$ /$2?q=$1 last; }
    location /r2/ { rewrite ^/r2/(.*)$ /show?x=$1&y=%20; set $z $1; return 200 "[$z] $args\n"; }
    location /show { return 200 "$uri $args $mapped\n"; }
    location /ssi/ { alias work/www/; ssi on; }
    location /mp4/ { alias work/www/; mp4; }
    location /flv/ { alias work/www/; flv; }
    location /dav/ { alias work/www/dav/; dav_methods PUT DELETE MKCOL COPY MOVE; create_full_put_path on; }
    location /sub/ { alias work/www/; sub_filter line LINE; sub_filter_once off; sub_filter_types *; }
    location /slice/ { slice 1k; proxy_set_header Range $slice_range; proxy_pass http://back/; }
    location /up/ { proxy_pass http://back/; proxy_http_version 1.1; proxy_set_header Connection ""; }
    location /auth/ { auth_request /no; }
    location = /no { return 403; }
    location /status { stub_status; }
    location /limit { limit_except GET { deny all; } return 200 ok; }
    location /fast { fastcgi_pass unix:work/none; }
    location /uw { uwsgi_pass unix:work/none; }
    location /scgi { scgi_pass unix:work/none; }
    location /grpc { grpc_pass unix:work/none; }
  }
  server { listen unix:work/s2; root work/www; gzip on; gzip_types *; gzip_min_length 1; }
}
C
$RUN bin/nginx -p . -c work/n.conf >work/out1 2>&1 &
server=$!; n=0
until curl -s --unix-socket work/s http://x/a.txt >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 300 ] && exit 9; sleep 0.02; done
if [ -n "$LIVE" ]; then $HPATCH apply --pid $server "$LIVE" >/dev/null || exit 10; fi
get() { curl -s -m 5 --unix-socket work/s -w '%{http_code} %{size_download}\n' "$@" | cksum; }
for u in a.txt big.txt none dir/ dir r/abc/show r//show 'r2/a%20b/c' 'r2/a+b?k=v' show?m=ab show?m=b ssi/p.shtml mp4/v.mp4 'mp4/v.mp4?start=1' 'mp4/v.mp4?start=1&end=0.5' 'flv/big.txt?start=20' sub/big.txt up/big.txt up/none slice/big.txt auth/a.txt limit fast uw scgi grpc '%2e%2e/%2e%2e/etc/passwd' 'a.txt%00' '//a.txt' './a.txt'; do echo "$u"; get --path-as-is "http://x/$u"; done
for r in 0-5 5- -5 0-0,5-6 10-5 0-99999999999999999999 -0 1-2,3-4,5-6; do get -H "Range: bytes=$r" http://x/a.txt; get -H "Range: bytes=$r" http://x/up/big.txt; done
get --compressed http://x/up/big.txt; get -I http://x/big.txt; get -X POST -d x=1 http://x/a.txt; get -X POST -d x=1 http://x/up/a.txt
get -T work/www/a.txt http://x/dav/new/a.txt; get -X COPY -H 'Destination: /dav/b.txt' http://x/dav/new/a.txt; get -X MOVE -H 'Destination: /dav/c.txt' http://x/dav/b.txt; get -X COPY -H 'Destination: /x' http://x/dav/c.txt; get -X MKCOL http://x/dav/d/; get -X DELETE http://x/dav/c.txt; get -X DELETE http://x/dav/none
get -H 'If-Modified-Since: Thu, 01 Jan 2037 00:00:00 GMT' http://x/a.txt; get -H 'If-None-Match: "x"' http://x/a.txt; get -H 'Transfer-Encoding: chunked' -d 'body' http://x/up/a.txt; get -H 'Host:' http://x/a.txt; get --http2-prior-knowledge http://x/a.txt; get -H "X: $(head -c 9000 /dev/zero | tr '\0' x)" http://x/a.txt
if [ -n "$LIVE" ]; then $HPATCH verify --pid $server >/dev/null || exit 11; $HPATCH revert --pid $server "$ID" >/dev/null || exit 12; get http://x/a.txt >/dev/null || exit 13; fi
kill -QUIT $server; wait $server

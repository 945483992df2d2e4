rm -rf work/*; port=$(/usr/bin/python3 -c 'import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
printf '10.0.0.%d host%d.lan host%d\n' 1 1 1 2 2 2 3 3 3 >work/hosts
$RUN bin/dnsmasq -d -C /dev/null -p $port --listen-address=127.0.0.1 --bind-interfaces -R -h -H work/hosts -x work/pid --user=root --address=/wild.lan/10.1.1.1 --txt-record=t.lan,"some text" --srv-host=_s._tcp.lan,host1.lan,80,1,2 --mx-host=m.lan,host2.lan,5 --cname=c.lan,host1.lan --ptr-record=p.lan,q.lan --naptr-record=n.lan,1,2,s,svc,re,rep --caa-record=k.lan,0,issue,ca --dns-rr=r.lan,51,0102 --auth-server=ns.lan,lo --auth-zone=z.lan >work/log 2>&1 &
server=$!
/usr/bin/python3 - $port wait <<'P' || exit 9
import socket,sys,time
for _ in range(300):
    s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(0.1); s.connect(("127.0.0.1",int(sys.argv[1])))
    try:
        s.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\5host1\3lan\0\0\1\0\1"); s.recv(999); sys.exit(0)
    except OSError: time.sleep(0.02)
sys.exit(1)
P
if [ -n "$LIVE" ]; then $HPATCH apply --pid $server "$LIVE" >/dev/null || exit 10; fi
/usr/bin/python3 - $port <<'P'
import socket,struct,sys
def ask(data):
    s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(0.15); s.connect(("127.0.0.1",int(sys.argv[1])))
    s.send(data)
    try: return s.recv(4096).hex()
    except OSError: return "none"
def name(n): return b"".join(bytes([len(l)])+l for l in n.encode().split(b".") if l)+b"\0"
for n in ["host1.lan","host2","none.lan","a.wild.lan","t.lan","_s._tcp.lan","m.lan","c.lan","p.lan","n.lan","k.lan","r.lan","1.0.0.10.in-addr.arpa","9.0.0.10.in-addr.arpa","version.bind","x.z.lan","z.lan","a"*63+".lan",".".join(["b"*60]*4),"1.0.0.0.ip6.arpa"]:
    for t,c in ((1,1),(28,1),(16,1),(33,1),(15,1),(5,1),(12,1),(255,1),(16,3),(43,1),(48,1),(6,1)):
        q=struct.pack(">HHHHHH",7,0x100,1,0,0,0)+name(n)+struct.pack(">HH",t,c)
        print(n[:20],t,c,ask(q))
        if t in(1,16): print(ask(q[:11]+b"\1"+q[12:]+b"\0\0\x29\x10\0\0\0\x80\0\0\x08\0\x0a\0\x04abcd"))
base=struct.pack(">HHHHHH",7,0x100,1,0,0,1)+name("host1.lan")+struct.pack(">HH",1,1)
for tail in (b"\0\0\x29\x10\0\0\0\0\0\xff\xff",b"\0\0\x29\x10\0\0\0\0\0\0\5\0\x08\0\1x",b"\xc0\x0c\0\x29",b"",b"\0\0\xfa\0\xff\0\0\0\0\0\0"): print(ask(base+tail))
for bad in (b"\0"*12,b"\0\7\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",b"\0\7\1\0\0\1\0\0\0\0\0\0\x3fab",b"\0\7\1\0\xff\xff\0\0\0\0\0\0"+name("a.b")): print(ask(bad))
P
if [ -n "$LIVE" ]; then $HPATCH verify --pid $server >/dev/null || exit 11; $HPATCH revert --pid $server "$ID" >/dev/null || exit 12; kill -0 $server || exit 13; fi
kill $server; wait $server
